// The part of Mosquitto's plugin interface, version 5 (Mosquitto 2.0 and later), that mosquitto_careg uses: our own
// declarations, so that building needs no header of the broker's. The functions are the broker's, found when it loads
// the plugin.
//
// Names, numbers and layouts are those of mosquitto_broker.h and mosquitto_plugin.h, which the broker keeps for all
// plugins of this version.
#ifndef CAREG_MOSQUITTO_PLUGIN_INTERFACE_H
#define CAREG_MOSQUITTO_PLUGIN_INTERFACE_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define MOSQUITTO_PLUGIN_INTERFACE 5

// What a callback answers.
#define MOSQUITTO_SUCCESS 0
#define MOSQUITTO_NO_MEMORY 1
#define MOSQUITTO_INVALID 3
#define MOSQUITTO_REFUSED 11  // MOSQ_ERR_AUTH: at CONNECT
#define MOSQUITTO_ACL_DENIED 12
#define MOSQUITTO_UNKNOWN 13
#define MOSQUITTO_DEFER 17  // MOSQ_ERR_PLUGIN_DEFER: the next one decides

// Events.
#define MOSQUITTO_ACL_CHECK 2
#define MOSQUITTO_BASIC_AUTH 3
#define MOSQUITTO_TICK 9
#define MOSQUITTO_DISCONNECT 10

// What a client wants to do.
#define MOSQUITTO_READ 1
#define MOSQUITTO_WRITE 2
#define MOSQUITTO_SUBSCRIBE 4
#define MOSQUITTO_UNSUBSCRIBE 8

// Kinds of log lines.
#define MOSQUITTO_LOG_INFO 1
#define MOSQUITTO_LOG_NOTICE 2
#define MOSQUITTO_LOG_WARNING 4
#define MOSQUITTO_LOG_ERROR 8

struct mosquitto;  // a client
typedef struct mosquitto_plugin_id_t mosquitto_plugin_id_t;

struct mosquitto_opt {
    char *key;
    char *value;
};

struct mosquitto_evt_acl_check {
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
};

struct mosquitto_evt_basic_auth {
    void *future;
    struct mosquitto *client;
    char *username;
    char *password;
    void *future2[4];
};

struct mosquitto_evt_disconnect {
    void *future;
    struct mosquitto *client;
    int reason;
    void *future2[4];
};

typedef int (*mosquitto_callback)(int event, void *event_data, void *userdata);

int mosquitto_callback_register(
    mosquitto_plugin_id_t *identifier, int event, mosquitto_callback callback, const void *event_data, void *userdata);
int mosquitto_callback_unregister(
    mosquitto_plugin_id_t *identifier, int event, mosquitto_callback callback, const void *event_data);
void mosquitto_log_printf(int level, const char *format, ...);
const char *mosquitto_client_id(const struct mosquitto *client);
int mosquitto_client_protocol_version(const struct mosquitto *client);
void *mosquitto_client_certificate(const struct mosquitto *client);
int mosquitto_kick_client_by_clientid(const char *client_id, bool with_will);

// What the plugin defines.
int mosquitto_plugin_version(int supported_version_count, const int *supported_versions);
int mosquitto_plugin_init(
    mosquitto_plugin_id_t *identifier, void **userdata, struct mosquitto_opt *options, int option_count);
int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count);

// MARK: What Swift cannot call itself

static inline void careg_mosquitto_log(int level, const char *line) { mosquitto_log_printf(level, "%s", line); }

// A certificate's DER, to be freed with careg_mosquitto_free_der; negative where there is no memory.
static inline int careg_mosquitto_der(void *certificate, unsigned char **der) {
    *der = NULL;
    return i2d_X509((X509 *)certificate, der);
}

static inline void careg_mosquitto_free_der(unsigned char *der) { OPENSSL_free(der); }

static inline void careg_mosquitto_free_certificate(void *certificate) { X509_free((X509 *)certificate); }

#endif
