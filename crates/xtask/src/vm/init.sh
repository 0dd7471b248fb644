#!/usr/bin/busybox sh
# The machine's first program, on the initial ramdisk.
fail() {
    echo "skiff-vm: cannot boot: $1"
    echo "skiff-vm: exit 99"
    poweroff -f
    exec sleep 1000
}
/usr/bin/busybox --install -s /usr/bin
export PATH=/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# Whether a machine under this accelerator comes this far is all that the probe wants to know.
if grep -q skiff.probe /proc/cmdline; then
    echo "skiff-vm: exit 0"
    poweroff -f
fi
while read -r module; do
    insmod "/modules/$module" || fail "module $module"
done </modules/order
mount -t ext4 /dev/vda /disk || fail "the disk"
for each in /*; do
    case $each in
    /disk | /dev | /proc | /sys | /modules | /init) ;;
    *) cp -a "$each" /disk/ || fail "copy $each" ;;
    esac
done
mkdir -p /disk/dev /disk/proc /disk/sys
umount /dev /sys /proc
exec switch_root /disk /run
fail "switch_root"
