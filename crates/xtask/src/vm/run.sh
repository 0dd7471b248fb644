#!/bin/sh
# The machine's first program, on the disk: mounts what a system has, runs the tests, reports and switches off.
export PATH=/usr/bin:/usr/sbin HOME=/root TMPDIR=/tmp RUST_BACKTRACE=0 SKIFF_TEST_CGROUP=V2
rm /run && mkdir /run
mount -t proc -o nosuid,noexec,nodev proc /proc
mount -t sysfs -o nosuid,noexec,nodev sysfs /sys
mount -t devtmpfs -o nosuid devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rprivate /
chmod 1777 /tmp /var/tmp
chown 1000:1000 /home/tester
ln -sf /proc/self/fd /dev/fd
hostname skiff-vm
# The kernel speaks of every process that it kills for want of memory, in the middle of the lines of the tests.
dmesg -n 1
ip link set lo up

# shellcheck disable=SC1091 # written with the ramdisk
. /tests/environment
failed=0
while IFS='|' read -r number arguments name; do
    echo "skiff-vm: $name $arguments"
    # shellcheck disable=SC2086 # a list of words
    "/tests/$number" --test-threads=1 $arguments </dev/null 2>&1 || failed=$((failed + 1))
done </tests/list
# Containers share the group above theirs, and leave it.
rmdir /sys/fs/cgroup/skiff 2>/dev/null
left=$(find /sys/fs/cgroup -mindepth 1 -type d)
if [ -n "$left" ]; then
    echo "skiff-vm: control groups left behind: $left"
    failed=$((failed + 1))
fi
echo "skiff-vm: exit $failed"
sync
poweroff -f
exec sleep 1000
