//! Numbers of control groups of the second kind.

use std::path::Path;

use containerd_shim::protos::cgroups_v2::metrics::{
    CPUStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PidsStat,
};
use fs_err as fs;

use super::{number, table};

pub(super) fn metrics(folder: &Path) -> Metrics {
    Metrics {
        cpu: Some(cpu(folder)).into(),
        memory: Some(memory(folder)).into(),
        memory_events: Some(memory_events(folder)).into(),
        pids: Some(pids(folder)).into(),
        io: Some(devices(folder)).into(),
        ..Metrics::default()
    }
}

fn cpu(folder: &Path) -> CPUStat {
    let stat = table(folder, "cpu.stat");
    let get = |name: &str| stat.get(name).copied().unwrap_or(0);
    CPUStat {
        usage_usec: get("usage_usec"),
        user_usec: get("user_usec"),
        system_usec: get("system_usec"),
        nr_periods: get("nr_periods"),
        nr_throttled: get("nr_throttled"),
        throttled_usec: get("throttled_usec"),
        nr_bursts: get("nr_bursts"),
        burst_usec: get("burst_usec"),
        ..CPUStat::default()
    }
}

fn memory(folder: &Path) -> MemoryStat {
    let stat = table(folder, "memory.stat");
    let get = |name: &str| stat.get(name).copied().unwrap_or(0);
    MemoryStat {
        anon: get("anon"),
        file: get("file"),
        kernel_stack: get("kernel_stack"),
        slab: get("slab"),
        sock: get("sock"),
        shmem: get("shmem"),
        file_mapped: get("file_mapped"),
        file_dirty: get("file_dirty"),
        file_writeback: get("file_writeback"),
        anon_thp: get("anon_thp"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        slab_reclaimable: get("slab_reclaimable"),
        slab_unreclaimable: get("slab_unreclaimable"),
        pgfault: get("pgfault"),
        pgmajfault: get("pgmajfault"),
        workingset_refault: get("workingset_refault"),
        workingset_activate: get("workingset_activate"),
        workingset_nodereclaim: get("workingset_nodereclaim"),
        pgrefill: get("pgrefill"),
        pgscan: get("pgscan"),
        pgsteal: get("pgsteal"),
        pgactivate: get("pgactivate"),
        pgdeactivate: get("pgdeactivate"),
        pglazyfree: get("pglazyfree"),
        pglazyfreed: get("pglazyfreed"),
        thp_fault_alloc: get("thp_fault_alloc"),
        thp_collapse_alloc: get("thp_collapse_alloc"),
        usage: number(folder, "memory.current"),
        usage_limit: number(folder, "memory.max"),
        max_usage: number(folder, "memory.peak"),
        swap_usage: number(folder, "memory.swap.current"),
        swap_limit: number(folder, "memory.swap.max"),
        swap_max_usage: number(folder, "memory.swap.peak"),
        ..MemoryStat::default()
    }
}

fn memory_events(folder: &Path) -> MemoryEvents {
    let events = table(folder, "memory.events");
    let get = |name: &str| events.get(name).copied().unwrap_or(0);
    MemoryEvents {
        low: get("low"),
        high: get("high"),
        max: get("max"),
        oom: get("oom"),
        oom_kill: get("oom_kill"),
        oom_group_kill: get("oom_group_kill"),
        ..MemoryEvents::default()
    }
}

fn pids(folder: &Path) -> PidsStat {
    let limit = number(folder, "pids.max");
    PidsStat {
        current: number(folder, "pids.current"),
        limit: if limit == u64::MAX { 0 } else { limit },
        ..PidsStat::default()
    }
}

fn devices(folder: &Path) -> IOStat {
    let text = fs::read_to_string(folder.join("io.stat")).unwrap_or_default();
    IOStat {
        usage: text.lines().filter_map(device).collect(),
        ..IOStat::default()
    }
}

/// Parses `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`.
fn device(line: &str) -> Option<IOEntry> {
    let (device, fields) = line.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let get = |name: &str| {
        let mut values = fields.split(' ').filter_map(|field| field.split_once('='));
        let value = values.find(|(key, _)| *key == name)?.1;
        value.parse().ok()
    };
    Some(IOEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        rbytes: get("rbytes").unwrap_or(0),
        wbytes: get("wbytes").unwrap_or(0),
        rios: get("rios").unwrap_or(0),
        wios: get("wios").unwrap_or(0),
        ..IOEntry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_kinds_files_become_its_metrics() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        file("cpu.stat", "usage_usec 11\nuser_usec 7\n");
        file("memory.current", "8192\n");
        file("memory.max", "max\n");
        file("memory.stat", "inactive_file 4096\n");
        file("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n");
        let metrics = metrics(folder.path());
        assert_eq!((metrics.cpu.usage_usec, metrics.memory.usage), (11, 8192));
        assert_eq!(metrics.memory.usage_limit, u64::MAX);
        assert_eq!(metrics.memory.inactive_file, 4096);
        assert_eq!(
            (metrics.io.usage[0].wbytes, metrics.io.usage[0].wios),
            (2, 4)
        );
    }
}
