#!/bin/sh
# A whole study in containers on this machine, from nothing: three sites, a coordinator, a synthetic table.
#   deploy/demo.sh FOLDER [up | down]        images first: deploy/wheels.sh, deploy/build.sh
# Each step is what the people of an institution would do; a real coordinator and real sites never share a folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
DEMO=$(cd "$1" && pwd)
export DEMO
engine=${ENGINE:-$(command -v docker || command -v podman)}
sites="north east west"

compose() {
    if [ -n "${COMPOSE:-}" ]; then
        "$COMPOSE" -f "$here/compose.yaml" "$@"
    else
        "$engine" compose -f "$here/compose.yaml" "$@"
    fi
}
# One command of a person, as root in a container without a network that has the demo's folder.
typed() {
    program=$1 && shift
    "$engine" run --rm --network none --read-only --tmpfs /tmp --user 0:0 --volume "$DEMO:/demo" \
        --volume "$here/demo:/given:ro" --entrypoint "$program" \
        "${SILOSYNTH_CLIENT:-silosynth-client}" "$@"
}

if [ "${2:-up}" = down ]; then
    compose down
    exit
fi

echo "== rows that are nobody's; a coordinator; three sites, each with keys of its own"
typed python3 -I /given/rows.py /demo/rows
typed silosynth coordinator init --home /demo/coordinator --host coordinator
for site in $sites; do
    typed silosynth site init --home "/demo/$site" --name "$site" --capacity 4000 \
        --coordinator coordinator:8443 --data /rows/patients.csv > /dev/null
done

echo "== each site's request goes to the coordinator; its authority's certificate comes back"
for site in $sites; do
    typed silosynth coordinator enrol "/demo/$site/request.json" --home /demo/coordinator
    typed cp "/demo/coordinator/bundles/$site/ca.pem" "/demo/$site/relay/ca.pem"
done

echo "== the coordinator proposes a study; each site's officer reads it, says what is allowed, and signs"
digest=$(typed silosynth coordinator study propose /given/demo.toml --sites north,east,west \
    --home /demo/coordinator --json | sed 's/.*"digest": *"\([0-9a-f]*\)".*/\1/')
for site in $sites; do
    typed cp /given/policy.toml "/demo/$site/policy.toml"
    typed silosynth site approve /demo/coordinator/studies/demo/study.toml --home "/demo/$site" --yes "$digest" \
        > "$DEMO/$site.read.txt"
    typed sh /opt/silosynth/own.sh "/demo/$site"
done
cat "$DEMO/north.read.txt"
typed chown -R 10003:10000 /demo/coordinator

echo "== everything starts; then the coordinator launches the study"
compose up -d
trap 'echo "stop it with: deploy/demo.sh $1 down"' EXIT
compose exec -T coordinator silosynth coordinator study launch demo
typed silosynth site outbox --home /demo/north
echo "the synthetic table, its report and its certificate: $DEMO/coordinator/studies/demo"
