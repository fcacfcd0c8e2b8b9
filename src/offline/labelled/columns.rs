//! The names of the columns of public data sets whose files have none.

/// The columns of the Server Machine Dataset by the names of the preset's features; `total_mem` never changes on a host, and no
/// feature is like it.
pub const SMD_FEATURES: [&str; 38] = [
    "cpu_busy",
    "load1",
    "load5",
    "load15",
    "mem_shared",
    "mem_used_with_cache",
    "mem_used",
    "mem_total",
    "disk_queue",
    "disk_reads",
    "disk_read_bytes",
    "disk_service_time",
    "disk_utilisation",
    "disk_writes",
    "disk_await",
    "disk_written_bytes",
    "swap_in",
    "swap_out",
    "net_rx_bytes",
    "net_tx_bytes",
    "net_rx_packets",
    "net_tx_packets",
    "tcp_time_wait",
    "tcp_in_use",
    "tcp_active_opens",
    "tcp_established",
    "tcp_in_errors",
    "tcp_in_segments",
    "tcp_listen_overflows",
    "tcp_out_resets",
    "tcp_out_segments",
    "tcp_passive_opens",
    "tcp_retransmits",
    "tcp_timeouts",
    "udp_in_datagrams",
    "udp_out_datagrams",
    "udp_receive_buffer_errors",
    "udp_send_buffer_errors",
];

/// The names of the `n` columns of `dataset`: its own where they are known, else `c0`, `c1` and so on.
pub(super) fn names(dataset: &str, n: usize) -> Vec<String> {
    if dataset == "smd" && n == SMD_FEATURES.len() {
        return SMD_FEATURES.map(str::to_owned).to_vec();
    }
    (0..n).map(|column| format!("c{column}")).collect()
}
