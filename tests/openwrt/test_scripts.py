"""What runs on the router besides the agent: init script, first-boot script, and what removal takes back.

Run by dash in a router's file system, with stand-ins of `uci`, `ubus` and rc.common: on a real OpenWrt it is the real
ones that count.
"""

import json
import shutil
import textwrap

import pytest
from conftest import PROJECT

STUB = PROJECT / "tests" / "openwrt" / "stub"
OPTIONS = "config mesh 'main'\n\toption enabled '1'\n\tlist etcd 'http://192.0.2.1:2379'\n"
FIREWALL = "config zone\n\toption name 'lan'\n\nconfig zone\n\toption name 'wan'\n"
SYSTEM = "config system\n\toption hostname '%s'\n"


@pytest.fixture
def router(box, tmp_path):
    """router(script) runs it where the package's scripts are installed; `out()` gives what it printed."""
    here = box()
    for name in ("files", "uci-defaults"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    shutil.copytree(STUB, tmp_path / "stub")
    setup = """\
        mkdir -p /etc/config /etc/init.d /usr/lib /usr/sbin /tmp/services /sys
        cp -r /mnt/files/etc/. /etc/
        cp -r /mnt/files/usr/lib/bgpmesh /usr/lib/; cp -r /mnt/files/lib/upgrade /lib/
        cp -r /mnt/src/bgpmesh /usr/lib/bgpmesh/
        cp /mnt/stub/rc.common /etc/rc.common; cp /mnt/stub/uci /mnt/stub/ubus /usr/sbin/
        printf '#!/bin/sh\\necho "logger $*" >> /tmp/asked\\n' > /usr/sbin/logger
        printf '#!/bin/sh\\necho "bgpmesh $*" >> /tmp/asked\\n' > /usr/sbin/bgpmesh
        chmod 755 /usr/sbin/logger /usr/sbin/bgpmesh
        rm -f /tmp/asked; touch /tmp/asked
        service() { /etc/init.d/"$1" "$2"; }
        """

    def run(script, options=OPTIONS, firewall=FIREWALL, hostname="north"):
        texts = {"bgpmesh": options, "firewall": firewall, "network": "", "system": SYSTEM % hostname}
        for name, text in texts.items():
            (tmp_path / name).write_text(text or "")
        copies = "".join(f"cp /mnt/{name} /etc/config/{name}\n" for name, text in texts.items() if text is not None)
        done = here.sh(textwrap.dedent(setup) + copies + textwrap.dedent(script))
        assert done.returncode == 0, done.stdout
        return done.stdout.splitlines()

    return run


def asked(router, command, **kw):
    """What `service bgpmesh <command>` asks of procd."""
    return router(f"service bgpmesh {command}; cat /tmp/asked", **kw)


# The command


@pytest.mark.parametrize("launcher", ["bgpmesh", "bgpmesh-python3"])
def test_a_file_that_is_named_on_the_command_line_is_one_of_the_folder_that_the_owner_is_in(router, launcher):
    command = f"sh /mnt/files/usr/sbin/{launcher} keygen -s network.sec"
    lines = router(f"cd /tmp; {command}; {command} 2>&1 || ls /tmp/network.*")
    assert lines[0].startswith("made /tmp/network.sec,")
    assert lines[-3].startswith("bgpmesh: /tmp/network.sec is there already")
    assert lines[-2:] == ["/tmp/network.pub", "/tmp/network.sec"]


# The init script


def test_start_gives_procd_an_agent_that_it_never_gives_up(router):
    lines = asked(router, "start")
    assert lines[:2] == ["instance agent", "param command /usr/sbin/bgpmesh run"]
    assert 'param env BGPMESH_VERSION="0.1.0"' in lines
    assert "param respawn 3600 5 0" in lines
    assert "changed firewall" in lines


def test_start_keeps_the_secrets_in_the_options_to_root(router):
    lines = router("chmod 644 /etc/config/bgpmesh; service bgpmesh start; stat -c %a /etc/config/bgpmesh")
    assert lines[-1] == "600"


def test_start_opens_the_port_from_wan_and_lets_bgp_and_bfd_in_from_the_mesh(router):
    zone = "\nconfig zone 'bgpmesh'\n\toption name 'bgpmesh'\n"
    options = OPTIONS + "\toption port '700'\n"
    lines = asked(router, "start", options=options, firewall=FIREWALL + zone)
    data = lines[lines.index("data") + 1 :]
    rules = "\n".join(data).split("end\n")
    assert "string src=wan" in rules[0] and "string proto=tcp udp" in rules[0] and "string dest_port=700" in rules[0]
    assert "string src=bgpmesh" in rules[1] and "string proto=tcp" in rules[1] and "string dest_port=179" in rules[1]
    assert "string src=bgpmesh" in rules[2] and "string proto=udp" in rules[2] and "string dest_port=4784" in rules[2]
    assert "string src=bgpmesh" in rules[3] and "string proto=icmp" in rules[3] and "dest" not in rules[3]
    assert "string src=bgpmesh" in rules[4] and "string dest=bgpmesh" in rules[4] and "proto=all" in rules[4]
    assert all("string target=ACCEPT" in rule for rule in rules[:5])


@pytest.mark.parametrize(
    ("option", "in_force", "ports"),
    [
        ("700", "655", ["655", "700"]),  # tincd follows in a moment, or it is taken back
        ("700", "700", ["700"]),
        ("655", "", ["655"]),
        ("65500000", "655", ["655"]),
        ("x", "655", ["655"]),
        ("!655", "", []),
        ("1-65535", "", []),
    ],
)
def test_the_port_that_tincd_listens_on_is_open_whatever_is_written_into_the_options(router, option, in_force, ports):
    lines = router(
        f"""\
        mkdir -p /var/run/bgpmesh/tinc
        [ -z "{in_force}" ] || printf 'Name = north\\nPort = {in_force}\\n' > /var/run/bgpmesh/tinc/tinc.conf
        service bgpmesh reload
        cat /tmp/asked
        """,
        options=OPTIONS + f"\toption port '{option}'\n",
    )
    assert [line.split("=")[1] for line in lines if line.startswith("string dest_port=")] == ports
    assert len([line for line in lines if line == "string src=wan"]) == len(ports)


def test_a_zone_that_is_not_there_gets_no_rule(router):
    assert not any("src" in line for line in asked(router, "start", firewall=None))
    assert not any("src=bgpmesh" in line for line in asked(router, "start"))


def test_a_mesh_that_is_not_enabled_is_not_started_and_says_how_it_is(router):
    lines = asked(router, "start", options=OPTIONS.replace("'1'", "'0'"))
    assert not any(line.startswith("instance") for line in lines)
    assert any("uci set bgpmesh.main.enabled=1" in line for line in lines)


@pytest.mark.parametrize("options", ["option", "config mesh 'main'\n\toption enabled 'x", "garbage\n"])
def test_a_file_that_cannot_be_read_starts_the_agent_which_says_what_is_wrong(router, options):
    assert "instance agent" in asked(router, "start", options=options)


def test_reload_leaves_alone_what_runs_and_has_the_options_read_again(router):
    lines = asked(router, "reload")
    assert "instance agent" in lines and lines[-1] == "signal bgpmesh agent HUP"
    assert not any(line.startswith(("kill", "ubus")) for line in lines)


def test_reload_of_a_mesh_that_is_no_longer_enabled_takes_it_down_and_goes_on_listening(router):
    lines = router(
        """\
        touch /tmp/services/bgpmesh /tmp/services/bgpmesh-bird /tmp/services/bgpmesh-tinc
        service bgpmesh reload
        cat /tmp/asked; ls /tmp/services
        """,
        options=OPTIONS.replace("'1'", "'0'"),
    )
    assert not any(line.startswith(("bgpmesh", "signal", "instance")) for line in lines)
    # The service itself is set again, without an instance: its triggers stay.
    assert "data" in lines and "kill bgpmesh" not in lines


@pytest.mark.parametrize("word", ["ture", "2", "1 "])
def test_an_option_that_is_neither_on_nor_off_takes_no_mesh_down(router, word):
    lines = router(
        """\
        touch /tmp/services/bgpmesh /tmp/services/bgpmesh-bird /tmp/services/bgpmesh-tinc
        service bgpmesh reload
        cat /tmp/asked; ls /tmp/services
        """,
        options=OPTIONS.replace("'1'", f"'{word}'"),
    )
    assert "instance agent" in lines and "signal bgpmesh agent HUP" in lines
    assert not any("drain" in line or "delete" in line for line in lines)


@pytest.mark.parametrize("word", ["0", "off", "false", "no", "disabled"])
def test_each_word_of_uci_turns_it_off(router, word):
    lines = asked(router, "start", options=OPTIONS.replace("'1'", f"'{word}'"))
    assert not any(line.startswith("instance") for line in lines)


def test_before_it_stops_anything_the_peers_are_told(router):
    lines = [line.strip() for line in asked(router, "stop")]
    assert lines.index("ubus bgpmesh drain") < min(lines.index(line) for line in lines if " delete " in line)


def test_stop_takes_down_the_agent_then_bird_then_the_tunnels(router):
    lines = router(
        """\
        touch /tmp/services/bgpmesh /tmp/services/bgpmesh-bird /tmp/services/bgpmesh-tinc
        service bgpmesh stop
        grep -o 'delete.*' /tmp/asked
        """
    )
    stopped = [json.loads(line.split(" ", 1)[1]).get("instance") for line in lines]
    assert [each for each in stopped if each] == ["agent", "bird", "tincd"]


def test_an_upgrade_stops_no_daemon(router):
    bird = "/tmp/services/bgpmesh-bird"
    lines = router(f"touch {bird}; PKG_UPGRADE=1 service bgpmesh stop; cat /tmp/asked; ls /tmp/services")
    assert "kill bgpmesh" in lines and "bgpmesh-bird" in lines


def test_the_agent_alone_can_be_restarted(router):
    lines = asked(router, "restart_agent")
    assert lines[0] == "kill bgpmesh agent" and "instance agent" in lines
    assert not any("bgpmesh-bird" in line or "bgpmesh-tinc" in line for line in lines)


def test_status_is_that_of_the_command(router):
    assert asked(router, "status") == ["bgpmesh status"]


def test_it_is_reloaded_when_its_options_or_its_interfaces_change(router):
    options = OPTIONS + "\tlist announce 'lan'\n\tlist announce 'guest'\n"
    lines = asked(router, "triggers", options=options)
    assert lines[:3] == ["trigger config bgpmesh", "trigger interface lan", "trigger interface guest"]


def test_procd_validates_every_option(router):
    from bgpmesh import config

    lines = asked(router, "triggers")
    found = {line.split()[1].split(":")[0]: line for line in lines if line.startswith("validate ")}
    assert sorted(found) == sorted(option[0] for option in config.OPTIONS)
    for name, default, *_ in config.OPTIONS:
        if default and isinstance(default, str) and name != "enabled":
            assert found[name].endswith(":" + default), found[name]


# The first boot


def defaults(router, then="", **kw):
    """(bgpmesh, network, firewall) as text after the first-boot script."""
    script = f"""\
        sh /mnt/uci-defaults/90-bgpmesh
        {then}
        for file in bgpmesh network firewall; do cat /etc/config/$file 2> /dev/null || true; echo ====; done
        """
    return "\n".join(router(script, **kw)).split("====")[:3]


def test_the_first_boot_makes_an_interface_a_zone_and_forwardings(router):
    options, network, firewall = defaults(router)
    assert "config interface 'bgpmesh'\n\toption proto 'none'\n\toption device 'tinc0'" in network
    assert "config zone 'bgpmesh'" in firewall and "list network 'bgpmesh'" in firewall
    assert "option src 'lan'\n\toption dest 'bgpmesh'" in firewall
    assert "option src 'bgpmesh'\n\toption dest 'lan'" in firewall
    assert "option name 'wan'" in firewall and "option node" not in options


@pytest.mark.parametrize("hostname", ["OpenWrt", "LEDE", ""])
def test_a_router_without_a_name_of_its_own_gets_one(router, hostname):
    options = defaults(router, hostname=hostname)[0]
    name = options.split("option node '")[1].split("'")[0]
    assert name.startswith("openwrt_") and len(name) == len("openwrt_123456")


def test_a_name_that_is_set_stays(router):
    options = OPTIONS + "\toption node 'south'\n"
    assert "option node 'south'" in defaults(router, options=options, hostname="OpenWrt")[0]


def test_what_the_owner_deleted_is_not_made_again(router):
    script = "uci delete firewall.bgpmesh_in; uci set firewall.bgpmesh.input=ACCEPT; uci commit firewall"
    _, _, firewall = defaults(router, then=script + "; sh /mnt/uci-defaults/90-bgpmesh")
    assert "bgpmesh_in" not in firewall and "option input 'ACCEPT'" in firewall


def test_a_second_time_changes_nothing(router):
    assert defaults(router) == defaults(router, then="sh /mnt/uci-defaults/90-bgpmesh")


def test_a_router_without_a_firewall_is_fine(router):
    _, network, firewall = defaults(router, firewall=None)
    assert "bgpmesh" in network and firewall.strip() == ""


def test_removal_leaves_the_mesh_and_takes_back_what_the_first_boot_made(router):
    options, network, firewall = defaults(router, then="sh /usr/lib/bgpmesh/forget; cat /tmp/asked")
    assert "bgpmesh leave" in options
    assert "bgpmesh" not in network and "bgpmesh" not in firewall.replace("config zone\n", "")
    assert "option name 'wan'" in firewall


# sysupgrade


@pytest.fixture
def sysupgrade(router):
    """sysupgrade(what) goes about it as OpenWrt's script does, with what its arguments set; what was asked, as lines.

    Its own list first, then what is in /lib/upgrade; all of the list where options are kept, or backed up.
    """
    return lambda what: router(
        f"""\
        append() {{ eval "$1=\\"\\${{$1:+\\$$1 }}$2\\""; }}
        conffiles() {{ echo "files $1"; }}
        SAVE_CONFIG=1 CONF_BACKUP= CONF_BACKUP_LIST=0
        {what}
        sysupgrade_init_conffiles=conffiles
        for file in /lib/upgrade/*.sh; do . $file; done
        if [ "$SAVE_CONFIG" = 1 ]; then
            for hook in $sysupgrade_init_conffiles; do $hook /tmp/list || exit 1; done
        fi
        cat /tmp/asked
        """
    )


@pytest.mark.parametrize(
    ("what", "drains"), [("", True), ("CONF_BACKUP=/tmp/x", False), ("CONF_BACKUP_LIST=1", False)]
)
def test_before_a_sysupgrade_the_peers_are_told_and_not_before_a_backup(sysupgrade, what, drains):
    lines = sysupgrade(what)
    assert lines[0] == "files /tmp/list"
    assert ("ubus bgpmesh drain" in [line.strip() for line in lines[1:]]) == drains


def test_a_sysupgrade_that_keeps_nothing_tells_nobody_so_the_readme_says_what_to_do(sysupgrade):
    # OpenWrt runs no hook then that comes before the image is written and after it was found good.
    assert sysupgrade("SAVE_CONFIG=0") == []
    assert "`sysupgrade -n` tells nobody: say `service bgpmesh stop` before it." in (PROJECT / "README.md").read_text()
