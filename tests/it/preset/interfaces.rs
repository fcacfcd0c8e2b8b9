//! Which network devices count: the machine's own, whatever else carries the same packets.

use super::machine::{Machine, NETCLASS, Nic};
use super::{check_machine, machine};

/// Devices that carry what a real one carries too, or what never leaves the machine.
const VIRTUAL: [&str; 66] = [
    // The kernel's own.
    "lo",
    "br0",
    "bridge0",
    "bond0",
    "team0",
    "vlan10",
    "eth0.100",
    "dummy0",
    "ifb1",
    "macvtap0",
    "vrf-blue",
    "erspan0",
    "teql0",
    "tun0",
    "tunl0",
    "tap3",
    "wg0",
    "gretap0",
    "sit0",
    "ip6tnl0",
    "ip_vti0",
    "ipvlan1",
    "bat0",
    // Containers.
    "docker0",
    "docker_gwbridge",
    "br-0a1b2c3d4e5f",
    "podman1",
    "nerdctl0",
    "lxcbr0",
    "lxdbr0",
    "incusbr0",
    "veth0a1b2c3",
    "ve-web",
    // Kubernetes.
    "cni0",
    "cbr0",
    "cali0123456789a",
    "vxlan.calico",
    "flannel.1",
    "cilium_host",
    "kube-ipvs0",
    "nodelocaldns",
    "weave",
    "vethwe-bridge",
    "eni1a2b3c4d5e6",
    "gke0123456789a",
    "azv0123456789a",
    "enP1234s1",
    "0a1b2c3d4e5f678",
    "0a1b2c3d4e5f_h",
    "genev_sys_6081",
    "vxlan_sys_4789",
    "ovn-k8s-mp0",
    "ovs-system",
    "antrea-gw0",
    "antrea-tun0",
    "coredns--8a2f1c",
    // Hypervisors.
    "virbr0",
    "vnet7",
    "vmbr0",
    "fwbr101i0",
    "fwpr101p0",
    "fwln101i0",
    "tap101i0",
    "vif1.0",
    "qvo0a1b2c3d-4e",
    "vboxnet0",
];
/// The same of overlay networks between machines, macOS and FreeBSD.
const ELSEWHERE: [&str; 17] = [
    "tailscale0",
    "zt5u4y6wxz",
    "wt0",
    "nordlynx",
    "utun3",
    "lo0",
    "gif0",
    "stf0",
    "anpi0",
    "ap1",
    "awdl0",
    "llw0",
    "bridge100",
    "epair0a",
    "lagg0",
    "pflog0",
    "enc0",
];
/// Devices of machines, physical or virtual.
const REAL: [&str; 27] = [
    "eth0",
    "eno1",
    "eno1np0",
    "ens5",
    "ens192",
    "enp3s0",
    "enp3s0f1np1",
    "enp0s31f6",
    "enP2p1s0f0",
    "enx001122334455",
    "enX0",
    "em1",
    "p1p1",
    "p2p1",
    "ib0",
    "ibp65s0",
    "wlan0",
    "wlp2s0",
    "wwan0",
    "en0",
    "vtnet0",
    "vmx0",
    "ena0",
    "igb0",
    "bge0",
    "venet0",
    "enc1000",
];

/// The features of a machine with `n` devices that count.
fn of(n: usize) -> Vec<(&'static str, f64)> {
    let each = [
        ("net_rx_bytes", 1_000.0),
        ("net_tx_bytes", 500.0),
        ("net_rx_packets", 10.0),
        ("net_tx_packets", 5.0),
        ("net_errors", 0.3),
        ("net_drops", 0.7),
    ];
    each.map(|(feature, value)| (feature, value * n as f64)).into()
}

/// `real` count and `others` don't, where the netclass collector exposes `netclass`.
fn check(real: &[Nic], others: &[Nic], netclass: &[&'static str]) {
    let (nics, virtual_nics) = (real.to_vec(), others.to_vec());
    check_machine(&Machine { nics, virtual_nics, netclass: netclass.to_vec(), ..machine() }, &of(real.len()));
}

fn nics(names: &[&str], of_kind: fn(&str) -> Nic) -> Vec<Nic> {
    names.iter().map(|name| of_kind(name)).collect()
}

#[test]
fn virtual_ones_are_known_by_their_names() {
    let virtual_nics = [nics(&VIRTUAL, Nic::bridge), nics(&ELSEWHERE, Nic::bridge)].concat();
    check(&nics(&["eth0", "eno2"], Nic::real), &virtual_nics, &[]);
    check(&nics(&["eth0", "eno2"], Nic::real), &virtual_nics, &NETCLASS);
    check(&nics(&["eth0"], Nic::guest), &virtual_nics, &NETCLASS);
    // A name proves more than what a driver claims of the device.
    let claimed = [nics(&VIRTUAL, Nic::real), nics(&ELSEWHERE, Nic::real)].concat();
    check(&nics(&["ens5"], Nic::guest), &claimed, &NETCLASS);
}

#[test]
fn real_ones_keep_their_names() {
    check(&nics(&REAL, Nic::real), &nics(&["lo"], Nic::bridge), &[]);
    check(&nics(&REAL, Nic::real), &nics(&["lo"], Nic::bridge), &NETCLASS);
    check(&nics(&REAL, Nic::guest), &nics(&["lo"], Nic::bridge), &NETCLASS);
}

#[test]
fn an_unknown_name_is_told_by_any_one_kind_of_evidence() {
    type Kind = fn(&str) -> Nic;
    let kinds: [(&str, Kind); 7] = [
        ("info", Nic::tunnel),
        ("protocol_type", Nic::tunnel),
        ("iface_", Nic::veth),
        ("flags", Nic::bond),
        ("speed_bytes", Nic::bridge),
        ("address_assign_type", Nic::bridge),
        ("", Nic::bridge),
    ];
    for (metrics, other) in kinds {
        let others = [other("acme7"), Nic::tunnel("lo")];
        check(
            &nics(&["eth0", "enp3s0"], Nic::real),
            &others,
            if metrics.is_empty() { &NETCLASS } else { std::slice::from_ref(&metrics) },
        );
    }
    // The other kinds beside a guest's device, which nothing proves to be real but its address, or not even that.
    for other in [Nic::veth, Nic::tunnel, Nic::bond] {
        let anonymous = Nic { address: 3.0, ..Nic::guest("ens5") };
        check(&[anonymous], &[other("acme7")], &NETCLASS);
    }
}

#[test]
fn what_a_bond_is_made_of_counts_and_the_bond_does_not() {
    let slave = |name: &str, address: f64| Nic { flags: 6_147.0, address, ..Nic::real(name) };
    // The second one has the address of the first.
    check(&[slave("eno1", 0.0), slave("eno2", 3.0)], &[Nic::bond("uplink"), Nic::bond("bond0")], &NETCLASS);
}

#[test]
fn infiniband_and_wireless_count_beside_ethernet() {
    let infiniband = Nic { protocol_type: 32.0, address: 3.0, ..Nic::guest("ib0") };
    check(&[Nic::real("eno1"), infiniband, Nic::guest("wlan0")], &[Nic::tunnel("acme7")], &NETCLASS);
}

#[test]
fn a_host_whose_only_device_looks_virtual_has_it() {
    // A container's eth0 is one end of a pair; that of OpenVZ and a modem have types of their own.
    for only in [
        Nic::veth("eth0"),
        Nic { protocol_type: 65_535.0, ..Nic::tunnel("venet0") },
        Nic { protocol_type: 519.0, ..Nic::tunnel("wwan0") },
        Nic { operstate: "unknown", ..Nic::guest("eth0") },
    ] {
        check(&[only], &[Nic::bridge("docker0"), Nic::veth("veth0a1b2c3"), Nic::tunnel("lo")], &NETCLASS);
    }
}

#[test]
fn a_link_that_is_down_changes_nothing() {
    let down = Nic { operstate: "down", ..Nic::guest("eno2") };
    check(&[Nic::real("eno1"), down], &[Nic::bridge("acme7")], &NETCLASS);
}
