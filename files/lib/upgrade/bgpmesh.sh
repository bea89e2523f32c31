# shellcheck shell=dash disable=SC2154
# Read by sysupgrade: before the image is written, the peers are told to use another way where there is one.

bgpmesh_drain() {
	# A backup, and a list of what would be in one, are made by the same hooks.
	[ -n "$CONF_BACKUP" ] || [ "$CONF_BACKUP_LIST" = 1 ] || ubus -t 10 call bgpmesh drain > /dev/null 2>&1
	return 0
}

append sysupgrade_init_conffiles bgpmesh_drain
