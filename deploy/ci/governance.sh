#!/bin/sh
# Checks the schemas and policies of a change, and exits with 1 where they must not be merged.
#
# Usage: governance.sh [--schemas DIR] [--base DIR] [--policies DIR] [--min-coverage PERCENT]
#
#   --schemas DIR       schemas as they are to be: a file SUBJECT.json, SUBJECT.avsc, or SUBJECT.proto each
#   --base DIR          schemas as they are: what is in --schemas must go together with them
#   --policies DIR      a bundle of policies: it must have no mistake, and pass its tests
#   --min-coverage P    how many of a hundred lines of its rules these must run (default 80)
#
# NEXUS names the program `nexus`, where it is not found by that name. Nothing is reached over a network: what is
# in --base is registered in a directory that is deleted again. A schema that comes with operations has them
# in a file SUBJECT.up.json beside it.
set -eu

nexus=${NEXUS:-nexus}
schemas='' base='' policies='' coverage=80
while [ $# -gt 0 ]; do
    case $1 in
        --schemas) schemas=$2 ;;
        --base) base=$2 ;;
        --policies) policies=$2 ;;
        --min-coverage) coverage=$2 ;;
        *) echo "governance.sh: $1 is not known: use --schemas, --base, --policies, or --min-coverage" >&2; exit 2 ;;
    esac
    shift 2
done
if [ -z "$schemas$policies" ]; then
    echo 'governance.sh: name --schemas, or --policies, or both' >&2
    exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# each DIR COMMAND...: runs the command for each schema in a directory, with its file, its subject, and `--up FILE` if it has that.
each() {
    dir=$1
    shift
    for file in "$dir"/*.json "$dir"/*.avsc "$dir"/*.proto; do
        case $file in *.up.json) continue ;; esac
        [ -e "$file" ] || continue
        name=${file##*/}
        subject=${name%.*}
        if [ -e "$dir/$subject.up.json" ]; then
            "$@" "$file" "$subject" --up "$dir/$subject.up.json"
        else
            "$@" "$file" "$subject"
        fi
    done
}

register() {
    file=$1 subject=$2
    # What its operations lead from is not here: what is there already is taken as it is.
    "$nexus" --data "$work/store" schema register "$file" --subject "$subject" --output json >/dev/null
}

check() {
    file=$1 subject=$2
    shift 2
    echo "--- schema $subject"
    "$nexus" --data "$work/store" schema check "$file" --subject "$subject" "$@" || failed=1
}

if [ -n "$schemas" ]; then
    # A store to register in: it has no schemas, and is made by the first of them.
    "$nexus" --data "$work/store" schema set --compatibility BACKWARD_TRANSITIVE >/dev/null
    if [ -n "$base" ]; then
        each "$base" register
    fi
    each "$schemas" check
fi
if [ -n "$policies" ]; then
    echo "--- policies $policies"
    "$nexus" policy check "$policies" || failed=1
    "$nexus" policy test "$policies" --min-coverage "$coverage" || failed=1
fi
exit $failed
