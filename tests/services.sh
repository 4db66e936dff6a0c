#!/bin/sh
# Install the servers that the tests start, and the languages and clients that they
# run, where this user may. Safe to run again: when all is there it asks nobody and
# takes no time. Never fails: what is missing is said in one line, and the tests skip
# (or, in CI, fail) by name.
# `tests/services.sh venv` installs only what a virtual environment needs.
set -u

PYTHON=${PYTHON:-python3}
missing=""

# Clients of IronWorker and Conductor for Node, the schema of AsyncAPI documents, and AMQP for Node stand in a
# cache folder, as no program needs them but a test.
get_clients() {
    get_from_npm iron_worker 0.1.8
    get_from_npm @asyncapi/specs 6.11.1
    get_from_npm amqplib 2.3.1
    get_from_npm @io-orkes/conductor-javascript 4.0.0
}

get_from_npm() {
    clients=${XDG_CACHE_HOME:-$HOME/.cache}/reworker/npm
    [ "${what:-}" = servers ] && [ ! -d "$clients/node_modules/$1" ] || return 0
    echo "tests/services.sh: installing $1 from npm"
    mkdir -p "$clients" && npm install --prefix "$clients" --no-audit --no-fund --silent --legacy-peer-deps \
        "$1@$2" </dev/null >/dev/null 2>&1 ||
        echo "tests/services.sh: could not install $1 from npm" >&2
}

# Clients of Conductor have an environment of their own: they bring other versions of what our tests use.
get_conductor() {
    clients=${XDG_CACHE_HOME:-$HOME/.cache}/reworker/conductor
    [ "${what:-}" = servers ] && [ ! -e "$clients/complete" ] || return 0
    echo "tests/services.sh: installing swift-conductor-client and conductor-python from PyPI"
    rm -rf "$clients" && "$PYTHON" -m venv "$clients" &&
        "$clients/bin/python" -m pip install -q --disable-pip-version-check \
            swift-conductor-client==1.2.0 conductor-python==2.0.0 </dev/null >/dev/null 2>&1 &&
        touch "$clients/complete" ||
        { rm -rf "$clients"; echo "tests/services.sh: could not install clients of Conductor from PyPI" >&2; }
}

what=${1:-servers}
if [ "$what" = venv ]; then
    # Debian's Python has the venv module without the wheels that fill a new one.
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        missing=$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
else
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
    # 15 on Debian 12; the program is not in the path, its folder has the version's number.
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
    # The pages are tested in it; without fonts it draws boxes in place of letters.
    [ -x /usr/bin/chromium ] || missing="$missing chromium fonts-dejavu-core"
    # Clients and code packages in other languages; perl is part of Debian.
    command -v go >/dev/null 2>&1 || missing="$missing golang-go"
    command -v php >/dev/null 2>&1 || missing="$missing php-cli"
    command -v ruby >/dev/null 2>&1 || missing="$missing ruby"
    command -v node >/dev/null 2>&1 || missing="$missing nodejs"
    command -v npm >/dev/null 2>&1 || missing="$missing npm"
    # Workers in other languages: AMQP for Go and for the shell, which reads JSON with jq.
    [ -d /usr/share/gocode/src/github.com/rabbitmq/amqp091-go ] ||
        missing="$missing golang-github-rabbitmq-amqp091-go-dev"
    command -v amqp-consume >/dev/null 2>&1 || missing="$missing amqp-tools"
    command -v jq >/dev/null 2>&1 || missing="$missing jq"
fi

missing="${missing# }"
if [ -z "$missing" ]; then
    get_clients
    get_conductor
    exit 0
fi

give_up() {
    echo "tests/services.sh: could not install $missing: $1" >&2
    get_clients
    get_conductor
    exit 0
}

command -v apt-get >/dev/null 2>&1 || give_up "there is no apt-get"
if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n env"
else
    give_up "needs root or sudo without a password"
fi

# The packages start a system-wide server when installed. Nobody here uses it,
# and it would hold the standard ports: forbid it, unless the machine has its
# own policy already.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM
    $as_root sh -c "printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy" || give_up "cannot write $policy"
fi

log=$(mktemp)
install() {
    # shellcheck disable=SC2086  # one word per package
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 $missing </dev/null >>"$log" 2>&1
}

echo "tests/services.sh: installing $missing"
# The package lists may be missing or old, as on a fresh machine: then fetch them.
if ! install; then
    $as_root apt-get update -q -o DPkg::Lock::Timeout=300 </dev/null >>"$log" 2>&1
    install || give_up "apt-get failed: $(grep '^E:' "$log" | tail -n 1) (all of it: $log)"
fi
rm -f "$log"
get_clients
get_conductor
