#!/bin/sh
# One command of `silosynth site` on a site's home, in a container without a network; then every file has its owner
# again. For a person at the site: init, check, approve, rehearse, ledger, outbox.
#   site.sh HOME COMMAND [...]        files from outside: ROWS=/srv/extract is /rows, OFFICER=/media/key is /officer
set -eu
home=$(cd "$1" && pwd) && shift
engine=${ENGINE:-$(command -v docker || command -v podman)}
image=${SILOSYNTH_CLIENT:-silosynth-client}
terminal=-i
[ ! -t 0 ] || terminal=-it

in_container() {
    "$engine" run --rm $terminal --network "${NETWORK:-none}" --read-only --tmpfs /tmp --user 0:0 --cap-drop ALL \
        --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER --cap-add FSETID --security-opt no-new-privileges \
        --volume "$home:/site" ${ROWS:+--volume "$ROWS:/rows:ro"} ${OFFICER:+--volume "$OFFICER:/officer:ro"} "$@"
}
code=0
in_container "$image" "$@" || code=$?
terminal=-i
in_container --entrypoint sh "$image" /opt/silosynth/own.sh /site < /dev/null
exit $code
