#!/usr/bin/env bash
# Installs caregd as a service of this host, or into a folder for a package. Run again, it upgrades in place: the
# registry, the configuration and the backups stay as they are.
#
#   systemd/install.sh                 builds (release, the Swift runtime linked in) and installs
#   systemd/install.sh --start         and enables and starts the daemon and the backup timer
#   systemd/install.sh --build-only    builds; needs swift, and no privilege
#   systemd/install.sh --no-build      installs what was built before; needs no swift
#   systemd/install.sh --bin-dir DIR   installs the programs of DIR instead of building any
#   systemd/install.sh --uninstall     stops it and removes what was installed; the registry, the configuration, the
#                                      backups and the accounts stay
#   systemd/install.sh --purge         removes those, too, except for the accounts
#
# PREFIX (/usr/local): where to. DESTDIR: a folder that stands for the root of the target host; then nothing is started
# and no account is made. The target host needs glibc, libcrypto (libssl3) and liblmdb0, and no Swift.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
here=$source/systemd
DESTDIR=${DESTDIR:-}
PREFIX=${PREFIX:-/usr/local}
scratch=$source/.build-release
build=yes install=yes start= uninstall= purge= bin=
while [ $# -gt 0 ]; do
    case $1 in
        --build-only) install= ;;
        --no-build) build= ;;
        --bin-dir) bin=$(cd "${2:?--bin-dir takes a folder}" && pwd); build=; shift ;;
        --start) start=yes ;;
        --uninstall) uninstall=yes ;;
        --purge) uninstall=yes purge=yes ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) echo "install.sh: what is $1? See --help" >&2; exit 64 ;;
    esac
    shift
done
case $PREFIX in /*) ;; *) echo "install.sh: PREFIX is an absolute path" >&2; exit 64 ;; esac
DESTDIR=${DESTDIR%/}
target=$DESTDIR$PREFIX
units=(caregd.service caregd@.service caregd-admin.socket caregd-broker.socket
    caregd-backup.service caregd-backup.timer caregd-backup@.service caregd-backup@.timer)

# A live host, with systemd at work: accounts are made and units are started there only.
is_live() { [ -z "$DESTDIR" ] && [ "$(id -u)" -eq 0 ]; }
has_systemd() { [ -d /run/systemd/system ]; }

# --- What is built

if [ -n "$build" ] && [ -z "$uninstall" ]; then
    command -v swift >/dev/null || {
        echo "install.sh: there is no swift in PATH. As a user who has it: systemd/install.sh --build-only; then, as root: systemd/install.sh --no-build" >&2
        exit 69
    }
    "$source/.ci/install" build
    for product in caregd caregctl; do
        swift build --package-path "$source" --scratch-path "$scratch" -c release --static-swift-stdlib --product "$product"
    done
    # Embedded Swift has no runtime to link in.
    for product in careg mosquitto_careg; do
        swift build --package-path "$source" --scratch-path "$scratch" -c release --product "$product"
    done
fi
[ -n "$install" ] || exit 0

# --- What is installed: each file is put beside its place and renamed, so that what runs is never half a program

put() {
    local mode=$1 from=$2 to=$3
    mkdir -p "$(dirname "$to")"
    install -m "$mode" "$from" "$to.new"
    mv -f "$to.new" "$to"
    echo "  $to"
}
# The units and scripts are written for /usr.
put_adapted() {
    local mode=$1 from=$2 to=$3 adapted
    adapted=$(mktemp)
    sed -e "s#/usr/bin/caregd#$PREFIX/bin/caregd#g" -e "s#/usr/lib/caregd/#$PREFIX/lib/caregd/#g" \
        -e "s#^Environment=PATH=/usr/bin:#Environment=PATH=$PREFIX/bin:/usr/bin:#" "$from" >"$adapted"
    put "$mode" "$adapted" "$to"
    rm -f "$adapted"
}
# Without what only a debugger reads.
put_stripped() {
    local mode=$1 from=$2 to=$3 stripped
    stripped=$(mktemp)
    strip --strip-unneeded -o "$stripped" "$from" 2>/dev/null || cp "$from" "$stripped"
    put "$mode" "$stripped" "$to"
    rm -f "$stripped"
}

# All that an uninstallation removes.
installed_files() {
    echo "$target"/bin/{caregd,caregctl}
    echo "$target"/lib/{libcareg.so,caregd/caregd-backup,caregd/mosquitto_careg.so}
    echo "$target"/lib/pkgconfig/careg.pc "$target"/include/careg.h
    for unit in "${units[@]}"; do echo "$target/lib/systemd/system/$unit"; done
    echo "$target"/lib/sysusers.d/caregd.conf "$target"/lib/tmpfiles.d/caregd.conf
    echo "$target"/share/man/{man8/caregd.8,man1/caregctl.1,man5/caregd.conf.5}
    for program in caregd caregctl; do
        echo "$target/share/bash-completion/completions/$program" "$target/share/zsh/site-functions/_$program"
        echo "$target/share/fish/vendor_completions.d/$program.fish"
    done
    echo "$target"/share/caregd/{caregd.conf,caregd.rules.yml,grafana.json,README.md,RUNBOOK.md}
}

if [ -n "$uninstall" ]; then
    if is_live && has_systemd; then
        mapfile -t regions < <(systemctl list-units --all --plain --no-legend 'caregd@*' 'caregd-backup@*' | awk '{ print $1 }')
        systemctl disable --now caregd-backup.timer caregd.service caregd-admin.socket caregd-broker.socket \
            "${regions[@]}" 2>/dev/null || true
    fi
    for file in $(installed_files); do
        if [ -e "$file" ]; then
            rm -f "$file"
            echo "  removed: $file"
        fi
    done
    rmdir "$target/lib/caregd" "$target/share/caregd" 2>/dev/null || true
    if is_live && has_systemd; then systemctl daemon-reload; fi
    if [ -n "$purge" ]; then
        rm -rf "$DESTDIR/etc/caregd" "$DESTDIR"/var/lib/caregd "$DESTDIR"/var/lib/caregd-* "$DESTDIR"/run/caregd \
            "$DESTDIR"/run/caregd-*
        echo "  removed: the registry, its configuration and its backups"
    elif [ -z "$DESTDIR" ]; then
        echo "the registry in /var/lib/caregd, the backups beside it and /etc/caregd stay: --purge removes them"
    fi
    exit 0
fi

[ -n "$bin" ] || bin=$scratch/release
for file in caregd caregctl libcareg.so libmosquitto_careg.so; do
    [ -e "$bin/$file" ] || { echo "install.sh: there is no $bin/$file: build first, with --build-only" >&2; exit 66; }
done
if [ -z "$DESTDIR" ] && ldd "$bin/caregd" "$bin/caregctl" | grep 'not found' >&2; then
    echo "install.sh: the programs need libraries that are not here. On Debian: apt-get install libssl3 liblmdb0" >&2
    exit 69
fi
if [ -z "$DESTDIR" ] && [ ! -w "$PREFIX" ] && [ "$(id -u)" -ne 0 ]; then
    echo "install.sh: $PREFIX is root's: run this with sudo, and with --no-build where root has no swift" >&2
    exit 77
fi
umask 022
echo "installing into $target"
put_stripped 0755 "$bin/caregd" "$target/bin/caregd"
put_stripped 0755 "$bin/caregctl" "$target/bin/caregctl"
put_adapted 0755 "$here/caregd-backup" "$target/lib/caregd/caregd-backup"
put_stripped 0644 "$bin/libcareg.so" "$target/lib/libcareg.so"
put 0644 "$source/Sources/careg/include/careg.h" "$target/include/careg.h"
adapted=$(mktemp)
sed "s#^prefix=.*#prefix=$PREFIX#" "$source/Sources/careg/careg.pc" >"$adapted"
put 0644 "$adapted" "$target/lib/pkgconfig/careg.pc"
rm -f "$adapted"
put_stripped 0644 "$bin/libmosquitto_careg.so" "$target/lib/caregd/mosquitto_careg.so"
for unit in "${units[@]}"; do put_adapted 0644 "$here/$unit" "$target/lib/systemd/system/$unit"; done
put 0644 "$here/sysusers.conf" "$target/lib/sysusers.d/caregd.conf"
put 0644 "$here/tmpfiles.conf" "$target/lib/tmpfiles.d/caregd.conf"
put 0644 "$here/man/caregd.8" "$target/share/man/man8/caregd.8"
put 0644 "$here/man/caregctl.1" "$target/share/man/man1/caregctl.1"
put 0644 "$here/man/caregd.conf.5" "$target/share/man/man5/caregd.conf.5"
completion=$(mktemp)
for program in caregd caregctl; do
    "$bin/$program" --generate-completion-script bash >"$completion"
    put 0644 "$completion" "$target/share/bash-completion/completions/$program"
    "$bin/$program" --generate-completion-script zsh >"$completion"
    put 0644 "$completion" "$target/share/zsh/site-functions/_$program"
    "$bin/$program" --generate-completion-script fish >"$completion"
    put 0644 "$completion" "$target/share/fish/vendor_completions.d/$program.fish"
done
rm -f "$completion"
put 0644 "$here/caregd.rules.yml" "$target/share/caregd/caregd.rules.yml"
put 0644 "$here/grafana.json" "$target/share/caregd/grafana.json"
put 0644 "$here/caregd.conf" "$target/share/caregd/caregd.conf"
put 0644 "$here/README.md" "$target/share/caregd/README.md"
put 0644 "$here/RUNBOOK.md" "$target/share/caregd/RUNBOOK.md"
# The operator's own file is never touched.
[ -e "$DESTDIR/etc/caregd/caregd.conf" ] || put 0644 "$here/caregd.conf" "$DESTDIR/etc/caregd/caregd.conf"

is_live || exit 0

# --- This host

command -v ldconfig >/dev/null && ldconfig
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers "$target/lib/sysusers.d/caregd.conf"
    systemd-tmpfiles --create "$target/lib/tmpfiles.d/caregd.conf"
fi
if ! has_systemd; then
    [ -z "$start" ] || { echo "install.sh: systemd does not run here: nothing was started" >&2; exit 69; }
    exit 0
fi
systemctl daemon-reload
# What runs is restarted: brokers keep their maps meanwhile.
systemctl try-restart caregd.service
mapfile -t regions < <(systemctl list-units --plain --no-legend 'caregd@*.service' | awk '{ print $1 }')
[ ${#regions[@]} -eq 0 ] || systemctl try-restart "${regions[@]}"
if [ -n "$start" ]; then
    systemctl enable --now caregd-admin.socket caregd-broker.socket caregd.service caregd-backup.timer
    caregctl_status=$(CAREG_SOCKET=/run/caregd/admin.sock "$PREFIX/bin/caregctl" status) || exit
    echo "$caregctl_status" | sed -n '1,/^$/p'
else
    echo "next: systemctl enable --now caregd.service caregd-backup.timer"
fi
