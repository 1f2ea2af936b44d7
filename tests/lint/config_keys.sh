#!/bin/sh
# config_keys.sh SOURCE - nothing in vmd.yaml is decoration and no metric stays at 0 for want of a counter: each key of config.def is
# read by code other than the configuration's own, and each COUNTED metric of metrics.def is counted somewhere.
set -eu
cd "$1/daemon/manager"
wrong=0
readers=$(ls *.c | grep -v '^config')
counters=$(ls *.c | grep -v '^metrics')
sed -n 's/^MGR_KEY(\([a-z]*\), \([a-z_]*\), \([A-Z]*\),.*/\1_\2 \3/p' config.def >"${TMPDIR:-/tmp}/keys.$$"
trap 'rm -f "${TMPDIR:-/tmp}/keys.$$"' EXIT
while read -r field type; do
    case $type in
    SIZE) field=${field}_bytes ;;
    TIME) field=${field}_ns ;;
    esac
    case $field in
    log_* | workers_isolation) continue ;; # the configuration itself puts them where they belong
    esac
    # shellcheck disable=SC2086
    grep -qw "$field" $readers || { echo "config.def: nobody reads $field"; wrong=1; }
done <"${TMPDIR:-/tmp}/keys.$$"
for id in $(sed -n 's/^MGR_METRIC(\([A-Z_]*\), COUNTED,.*/\1/p' metrics.def); do
    # GUEST_STARTS is mgr_count_start's
    # shellcheck disable=SC2086
    [ "$id" = GUEST_STARTS ] || grep -qw "MGR_METRIC_$id" $counters || { echo "metrics.def: nobody counts $id"; wrong=1; }
done
exit $wrong
