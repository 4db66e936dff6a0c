#!/bin/sh
# Build the RabbitMQ versions that this Debian has no package of: each in a small
# Debian of its own, in a cache folder outside the checkout, about a minute and
# 250 MB each. `make test-all` calls it; `tests/brokers.sh 4.3` builds one. Safe to
# run again: what is there is kept. Never fails: what is missing is said in one
# line, and the tests skip (or, in CI, fail) by name.
set -u

VERSIONS=${*:-4.0 4.3}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/reworker

give_up() {
    failed=yes
    echo "tests/brokers.sh: could not build RabbitMQ $version: $1" >&2
}

# Which release of Debian has a version, and by which recipe debootstrap makes it.
suite_of() {
    case $1 in
        4.0) echo trixie ;;
        4.3) echo forky ;;
    esac
}

if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n env"
else
    as_root=""
fi

have_debootstrap() {
    command -v debootstrap >/dev/null 2>&1 && return 0
    [ -x /usr/sbin/debootstrap ] && return 0
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 debootstrap </dev/null >>"$log" 2>&1 && return 0
    $as_root apt-get update -q -o DPkg::Lock::Timeout=300 </dev/null >>"$log" 2>&1
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 debootstrap </dev/null >>"$log" 2>&1
}

# The mirror that apt is set up with, for Debian itself.
mirror() {
    # shellcheck disable=SC2016  # apt fills these in
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 !~ /security/ { print $2; exit }'
}

# Within it a policy keeps the package from starting a server when it is installed.
build() { # suite folder
    recipe=/usr/share/debootstrap/scripts/$1
    [ -e "$recipe" ] || recipe=/usr/share/debootstrap/scripts/sid
    $as_root debootstrap --variant=minbase "$1" "$2" "$from" "$recipe" </dev/null >>"$log" 2>&1 || return 1
    $as_root sh -c "
        printf '127.0.0.1 localhost\n' > '$2/etc/hosts'
        printf '#!/bin/sh\nexit 101\n' > '$2/usr/sbin/policy-rc.d' && chmod 755 '$2/usr/sbin/policy-rc.d'
        cp /etc/apt/apt.conf.d/*proxy* '$2/etc/apt/apt.conf.d/' 2>/dev/null
        DEBIAN_FRONTEND=noninteractive chroot '$2' apt-get install -q -y --no-install-recommends rabbitmq-server &&
        chroot '$2' apt-get clean && rm -rf '$2'/var/lib/apt/lists/*" </dev/null >>"$log" 2>&1
}

log=$(mktemp)
failed=""
for version in $VERSIONS; do
    folder=$CACHE/rabbitmq-$version
    [ -x "$folder/usr/lib/rabbitmq/bin/rabbitmq-server" ] && continue
    suite=$(suite_of "$version")
    [ -n "$suite" ] || { give_up "only 4.0 and 4.3 are known here"; continue; }
    command -v apt-get >/dev/null 2>&1 || { give_up "there is no apt-get"; continue; }
    [ -n "$as_root" ] || { give_up "needs root or sudo without a password"; continue; }
    have_debootstrap || { give_up "debootstrap cannot be installed (log: $log)"; continue; }
    from=$(mirror)
    [ -n "$from" ] || { give_up "apt knows no mirror of Debian"; continue; }
    echo "tests/brokers.sh: building RabbitMQ $version from $suite in $folder, about a minute"
    mkdir -p "$CACHE"
    half=$folder.$$
    if ! build "$suite" "$half"; then
        give_up "$(grep '^E:' "$log" | tail -n 1) (all of it: $log)"
        $as_root rm -rf "$half"
        continue
    fi
    found=$($as_root chroot "$half" dpkg-query -W -f '${Version}' rabbitmq-server)
    case $found in
        "$version".*) $as_root mv -T "$half" "$folder" ;;
        *)
            give_up "$suite has $found by now"
            $as_root rm -rf "$half"
            ;;
    esac
done
[ -n "$failed" ] || rm -f "$log"
exit 0
