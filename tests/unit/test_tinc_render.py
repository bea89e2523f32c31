from example import golden, member, options
from meshes import planned

from bgpmesh import records
from bgpmesh.tinc import render


def test_the_files_are_those_in_golden():
    for name, version in (("alone", "1.1"), ("three", "1.1"), ("everything", "1.1"), ("earlier", "1.0")):
        files = planned(name, version).tinc
        for path in sorted(files):
            golden("tinc/%s/%s" % (name, path), files[path][0])


def test_of_tincs_versions_only_the_newer_one_is_told_of_ed25519():
    older, newer = planned("three", "1.0").tinc, planned("three", "1.1").tinc
    assert "Ed25519PrivateKeyFile" in newer["tinc.conf"][0] and "AutoConnect = no" in newer["tinc.conf"][0]
    assert "Ed25519" not in older["tinc.conf"][0] and "AutoConnect" not in older["tinc.conf"][0]
    assert [path for path in older if older[path] != newer[path]] == ["tinc.conf"]


def test_of_a_name_the_addresses_are_written_that_were_found():
    before, after = planned("everything", found={}).tinc, planned("everything").tinc
    assert "Address" not in before["hosts/carol"][0]
    assert "Address = 192.0.2.7 655\nAddress = 2001:db8::7 655\n" in after["hosts/carol"][0]
    assert list(after.unlike(before)) == ["hosts/carol"] and after != before and after == planned("everything").tinc


def test_keys_can_be_read_by_root_alone_and_scripts_can_be_run():
    files = planned("three").tinc
    assert sorted(files) == ["hosts/alfa", "hosts/bravo", "hosts/carol", "tinc-down", "tinc-up", "tinc.conf"]
    for path in files:
        assert files[path][1] == (0o700 if path in ("tinc-up", "tinc-down") else 0o600), path


def test_tunnels_are_dialled_in_the_order_of_names():
    text = render.conf(options(), member("alfa", 1), [], ["dora", "bravo"], "1.1")
    assert text.endswith("\nConnectTo = bravo\nConnectTo = dora\n")


def test_broadcasts_are_on_only_while_there_is_a_member_of_another_make():
    for versions, right in (((), "no"), (("1.0",), "no"), (("1.0", ""), "mst")):
        members = [member("r%d" % number, number + 1, version=text) for number, text in enumerate(versions)]
        for tinc in ("1.0", "1.1"):
            text = render.conf(options(), member("alfa", 1), members, [], tinc)
            assert "\nBroadcast = %s\n" % right in text
            assert ("\nStrictSubnets = yes\n" in text) is (right == "no"), "or nobody would believe its address"


def test_the_keys_of_a_large_mesh_expire_no_more_often_than_every_ten_seconds():
    for others, seconds in ((0, 3600), (248, 3600), (249, 7200), (999, 18000)):
        members = [member("r%d" % number, 2) for number in range(others + 1)]
        assert "\nKeyExpire = %d\n" % seconds in render.conf(options(), members[0], members, [], "1.1")


def test_with_trust_signed_nobody_has_broadcasts_turned_on_by_saying_to_be_of_another_make():
    signed = options()
    signed.trust = "signed"
    stranger = member("r1", 2, version="")
    assert render.conf(signed, member("alfa", 1), [stranger], [], "1.1") == (
        render.conf(options(), member("alfa", 1), [], [], "1.1")
    )


def test_what_is_a_members_is_said_by_each_of_its_files_whatever_its_record_says():
    bravo = member("bravo", 2, version="")
    bravo.next = records.Next(1, None, "N" * 43)
    files = render.Files(options(), member("alfa", 1), [bravo], [], "1.1", {})
    for node, name in (("alfa", "alfa"), ("bravo", "bravo"), ("bravo", "bravo__0001")):
        found = [line for line in files["hosts/" + name][0].split("\n") if line.startswith("Subnet")]
        assert found == ["Subnet = " + render.hardware_address(node)]


def test_a_hardware_address_is_a_local_unicast_one_and_each_name_has_its_own():
    found = [render.hardware_address("r%d" % number) for number in range(200)]
    assert len(set(found)) == 200
    for address in found:
        octets = [int(part, 16) for part in address.split(":")]
        assert len(octets) == 6 and octets[0] == 2
    assert render.hardware_address("alfa") == render.hardware_address("alfa")
