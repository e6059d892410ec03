#!/bin/sh
# Makes the namespace with its retention, and the search attributes of runs. Safe to run again: what is there stays,
# and the retention becomes what is asked for. The attributes are those of interlock/search_attributes.py.
set -eu
: "${TEMPORAL_ADDRESS:?}" "${TEMPORAL_NAMESPACE:?}" "${RETENTION:?}"

attempt=0
wait_a_little() { # what is waited for
    attempt=$((attempt + 1))
    if [ "$attempt" -gt 90 ]; then
        echo "gave up: $1" >&2
        exit 1
    fi
    sleep 1
}

until temporal operator cluster health >/dev/null 2>&1; do
    wait_a_little "no Temporal server answers at $TEMPORAL_ADDRESS"
done

if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
    temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
else
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
fi

# A namespace that was just made is not yet known to every part of the server.
until temporal operator search-attribute list >/dev/null 2>&1; do
    wait_a_little "namespace $TEMPORAL_NAMESPACE does not appear"
done

add() { # type, names...
    type=$1
    shift
    for name in "$@"; do
        until temporal operator search-attribute create --type "$type" --name "$name"; do
            wait_a_little "search attribute $name ($type) could not be made"
        done
    done
}

add Keyword AgentName AgentUser AgentState AgentOutcome AgentModel AgentInputHash
add Double AgentCostUsd
add Int AgentSteps AgentToolCalls
