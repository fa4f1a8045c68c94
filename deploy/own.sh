#!/bin/sh
# Gives the parts of a site's home to the users that need them, and to nobody else. Run it as root after `site init`,
# and whenever root wrote into the home (site.sh and the unit files' recipe do).
#   own.sh HOME [AGENT RELAY GROUP]        default: the numbers in the images, 10001 10002 10000
# The officer's key stays with root, who approves; better is to keep it elsewhere altogether.
set -eu
home=$1 agent=${2:-10001} relay=${3:-10002} group=${4:-10000}
cd "$home"
mkdir -p agent relay studies run log

chown root:"$group" . && chmod 0750 .
for file in site.toml policy.toml request.json; do
    [ ! -e $file ] || { chown root:"$group" $file && chmod 0640 $file; }
done
[ ! -e officer.key ] || { chown root:root officer.key && chmod 0600 officer.key; }
chown -R root:"$group" studies && chmod -R u=rwX,g=rX,o= studies # read by the agent, which cannot approve
chown -R "$agent":root agent && chmod -R u=rwX,go= agent
chown -R "$relay":root relay && chmod -R u=rwX,go= relay
chown "$agent":"$group" run && chmod 2750 run # the socket takes the folder's group, so that the relay may connect
chown root:"$group" log && chmod 1770 log     # both write, and neither can touch the other's
