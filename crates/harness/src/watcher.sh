# Ends with its parent: reads "+ SIGNAL PID", "- SIGNAL PID" and "rm - FOLDER" lines until the parent's end of the pipe closes.
# $1 is the folder of the run; process groups are named by their leader's PID.
trap '' INT TERM HUP QUIT
groups=
outside=
while read -r verb signal pid; do
    case $verb in
    +) groups="$groups $signal:$pid" ;;
    -)
        left=
        for group in $groups; do
            [ "$group" = "$signal:$pid" ] || left="$left $group"
        done
        groups=$left
        ;;
    rm) outside=$pid ;;
    esac
done

for group in $groups; do
    kill -s "${group%%:*}" -- "-${group##*:}"
done
tries=0
while [ "$tries" -lt 100 ]; do
    alive=
    for group in $groups; do
        kill -s 0 -- "-${group##*:}" && alive=yes
    done
    [ -n "$alive" ] || break
    tries=$((tries + 1))
    sleep 0.05
done
for group in $groups; do
    kill -s KILL -- "-${group##*:}"
done

# Whoever still lives in the folder: a child that left its group, or one whose parent died before it could name it.
for cwd in /proc/[0-9]*/cwd; do
    case $(readlink "$cwd") in
    "$1" | "$1"/*)
        pid=${cwd#/proc/}
        kill -s KILL "${pid%/cwd}"
        ;;
    esac
done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
[ -z "$outside" ] || rm -rf -- "$outside"
