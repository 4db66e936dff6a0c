#!/bin/sh
# A worker of the command frob, with amqp-tools and jq: frob.sh amqp://guest:guest@localhost worker.frob
# amqp-consume runs this file again for each message, with the body on stdin. It shows no property of a
# message: the core says under "attempt" of the body what and where to answer.
url=${1:?the address of the broker} queue=${2:?the queue} what=${3:-serve}
state=${FROB_STATE:-/var/tmp/frob} # a folder for each attempt: that it was begun here, and how it ended

add() { # prints the data of the reply; or says what is wrong, and fails
    values=$(jq <"$own/body" -r '.parameters | [.a, .b, .seconds // 0] | map(numbers) | select(length == 3) |
        @sh "a=\(.[0]) b=\(.[1]) seconds=\(.[2]) sum=\(.[0] + .[1]) is_large=\(.[0] + .[1] > 1000)"')
    [ "$values" ] || { echo "a, b and seconds must be numbers"; return 1; }
    eval "$values"
    send re output "{\"message\": \"adding $a and $b\"}" -H "x-correlation-id: $id"
    sleep "$seconds"
    [ "$is_large" = false ] || { echo "$sum is over 1000"; return 1; }
    echo "{\"sum\": $sum}"
}

send() { # EXCHANGE KEY BODY OPTION...; it has gone when the connection could be closed in good order
    exchange=$1 key=$2 body=$3
    shift 3
    amqp-publish -u "$url" -e "$exchange" -r "$key" -p -C application/json -b "$body" "$@"
}

reply() {
    echo >>"$own/seq"
    send '' "$reply_to" "$1" -H "x-correlation-id: $id" -H "x-worker: $(uname -n):$FROB_PID" \
        -H "x-seq: $(wc -l <"$own/seq")"
}

step() { # its exit code is that of the file: amqp-consume acknowledges when it is 0
    mkdir -p "$state" && new=$(mktemp -p "$state") && cat >"$new"
    trap 'rm -f "$new" "$state/busy.$FROB_PID"' EXIT
    : >"$state/busy.$FROB_PID"
    eval "$(jq -r '@sh "id=\(.attempt.id) reply_to=\(.attempt.reply_to) is_idempotent=\(.attempt.idempotent)
        pause=\(.attempt.heartbeat_s // 86400) subcommand=\(.parameters.subcommand)"' "$new" 2>/dev/null)"
    case $id in
    *[!0-9a-f.]* | .* | *..* | "") return 0 ;; # it cannot be read, or there is nobody to answer
    esac
    own=$state/$id
    mkdir "$own" 2>/dev/null || was_begun=yes
    cp "$new" "$own/body"
    if [ -f "$own/final" ]; then # it was delivered twice, or not acknowledged
        :
    elif [ "$was_begun" ] && [ "$is_idempotent" != true ]; then
        end '{"status": "unknown", "message": "the worker that had it was lost"}'
    elif [ "$subcommand" != add ]; then
        end '{"status": "failed", "message": "unknown subcommand"}'
    else
        reply '{"status": "started"}' && run
    fi
    reply "$(cat "$own/final")"
}

end() { echo "$1" >"$own/end" && mv "$own/end" "$own/final"; }

run() {
    (trap 'kill $!; exit' TERM; while sleep "$pause" & wait $!; do reply '{"status": "running"}'; done) &
    if said=$(add); then
        end "{\"status\": \"completed\", \"data\": $said}"
    else
        end "$(echo "$said" | jq -Rc '{status: "failed", message: .}')"
    fi
    kill $!
    wait $!
}

serve() { # one message per connection, so that it can stop between two
    export FROB_PID=$$
    trap 'stop=yes; [ -e "$state/busy.$$" ] || kill $! 2>/dev/null' TERM
    echo "consuming $queue"
    until [ "$stop" ]; do
        amqp-consume -u "$url" -q "$queue" -c 1 "$0" "$url" "$queue" step &
        wait $! || [ "$stop" ] || sleep 1
        [ -z "$stop" ] || wait $! || :
    done
}

"$what"
