// Stands for Mosquitto: loads the plugin, and does to it what lines of standard input say.
//
//     load PLUGIN KEY=VALUE ...
//     client NAME PROTOCOL CERTIFICATE|-   a client in the first free place; its address is used again after `free`
//     auth NAME | acl NAME ACCESS | tick | drop NAME | free NAME | unload
//     show NAME CERTIFICATE|-              the connection shows another certificate
//
// Each line is answered with lines of log, kicks and results, and one of a single dot.
#include <dlfcn.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mosquitto {
    char id[64];
    int protocol;
    X509 *certificate;
    bool is_online;
};

struct mosquitto_opt {
    char *key, *value;
};

typedef int (*callback)(int, void *, void *);

static struct mosquitto clients[16];
static callback callbacks[16];
static void *userdata;

int mosquitto_callback_register(void *identifier, int event, callback function, const void *data, void *user) {
    (void)identifier, (void)data;
    callbacks[event] = function;
    userdata = user;
    return 0;
}

int mosquitto_callback_unregister(void *identifier, int event, callback function, const void *data) {
    (void)identifier, (void)data;
    if (callbacks[event] != function) return 6;
    callbacks[event] = NULL;
    return 0;
}

void mosquitto_log_printf(int level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("log %d ", level);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

const char *mosquitto_client_id(const struct mosquitto *client) { return client->id; }
int mosquitto_client_protocol_version(const struct mosquitto *client) { return client->protocol; }

void *mosquitto_client_certificate(const struct mosquitto *client) {
    if (!client->is_online || client->certificate == NULL) return NULL;
    X509_up_ref(client->certificate);
    return client->certificate;
}

static int acl(struct mosquitto *client, int access) {
    struct {
        void *future;
        struct mosquitto *client;
        const char *topic;
        const void *payload;
        void *properties;
        int access;
        uint32_t payloadlen;
        uint8_t qos;
        bool retain;
        void *future2[4];
    } event = {0};
    event.client = client;
    event.topic = "topic";
    event.access = access;
    return callbacks[2](2, &event, userdata);
}

static void drop(struct mosquitto *client) {
    struct {
        void *future;
        struct mosquitto *client;
        int reason;
        void *future2[4];
    } event = {0};
    event.client = client;
    callbacks[10](10, &event, userdata);
    client->is_online = false;
}

int mosquitto_kick_client_by_clientid(const char *id, bool with_will) {
    for (int index = 0; index < 16; index++) {
        if (clients[index].id[0] == 0 || !clients[index].is_online || strcmp(clients[index].id, id) != 0) continue;
        printf("kick %s will %d subscribe %d\n", id, with_will, acl(&clients[index], 4));
        drop(&clients[index]);
        return 0;
    }
    printf("kick %s unknown\n", id);
    return 6;
}

static struct mosquitto *find(const char *name) {
    for (int index = 0; index < 16; index++) {
        if (name != NULL && strcmp(clients[index].id, name) == 0) return &clients[index];
    }
    fprintf(stderr, "no client %s\n", name);
    exit(1);
}

static X509 *read_certificate(const char *path) {
    if (path == NULL || strcmp(path, "-") == 0) return NULL;
    FILE *file = fopen(path, "r");
    if (file == NULL) exit(66);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    return certificate;
}

static void load(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    int (*version)(int, const int *) = (int (*)(int, const int *))dlsym(library, "mosquitto_plugin_version");
    int (*init)(void *, void **, struct mosquitto_opt *, int) =
        (int (*)(void *, void **, struct mosquitto_opt *, int))dlsym(library, "mosquitto_plugin_init");
    const int versions[] = {5, 4, 3, 2}, old_versions[] = {4, 3, 2};
    struct mosquitto_opt options[16];
    int count = 0;
    char *word;
    while ((word = strtok(NULL, " \n")) != NULL) {
        char *value = strchr(word, '=');
        *value = 0;
        options[count].key = strdup(word);
        options[count++].value = strdup(value + 1);
    }
    void *user = NULL;
    static int identifier;
    printf("version %d %d\n", version(4, versions), version(3, old_versions));
    int result = init(&identifier, &user, options, count);
    // What a broker gives to a plugin is gone when init has returned.
    for (int index = 0; index < count; index++) {
        memset(options[index].value, 'x', strlen(options[index].value));
        free(options[index].key);
        free(options[index].value);
    }
    printf("init %d\n", result);
    if (result == 0) userdata = user;
}

int main(void) {
    char line[4096];
    void *library_path = NULL;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *verb = strtok(line, " \n");
        char *name = strtok(NULL, " \n");
        if (strcmp(verb, "load") == 0) {
            library_path = strdup(name);
            load(name);
        } else if (strcmp(verb, "unload") == 0) {
            void *library = dlopen(library_path, RTLD_NOW);
            int (*cleanup)(void *, void *, int) =
                (int (*)(void *, void *, int))dlsym(library, "mosquitto_plugin_cleanup");
            printf("cleanup %d\n", cleanup(userdata, NULL, 0));
            for (int index = 0; index < 16; index++) {
                if (callbacks[index] != NULL) printf("callback %d left\n", index);
            }
        } else if (strcmp(verb, "client") == 0) {
            int index = 0;
            while (clients[index].id[0] != 0) index++;
            snprintf(clients[index].id, sizeof(clients[index].id), "%s", name);
            clients[index].protocol = atoi(strtok(NULL, " \n"));
            clients[index].certificate = read_certificate(strtok(NULL, " \n"));
            clients[index].is_online = true;
        } else if (strcmp(verb, "show") == 0) {
            struct mosquitto *client = find(name);
            X509_free(client->certificate);
            client->certificate = read_certificate(strtok(NULL, " \n"));
            client->is_online = true;
        } else if (strcmp(verb, "auth") == 0) {
            struct {
                void *future;
                struct mosquitto *client;
                char *username, *password;
                void *future2[4];
            } event = {0};
            event.client = find(name);
            printf("auth %d\n", callbacks[3](3, &event, userdata));
        } else if (strcmp(verb, "acl") == 0) {
            struct mosquitto *client = find(name);
            printf("acl %d\n", acl(client, atoi(strtok(NULL, " \n"))));
        } else if (strcmp(verb, "tick") == 0) {
            char event[128] = {0};
            callbacks[9](9, event, userdata);
        } else if (strcmp(verb, "drop") == 0) {
            drop(find(name));
        } else if (strcmp(verb, "free") == 0) {
            struct mosquitto *client = find(name);
            X509_free(client->certificate);
            memset(client, 0, sizeof(*client));
        } else {
            return 64;
        }
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
