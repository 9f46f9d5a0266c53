//! Numbers of control groups of the second kind.

use std::path::Path;

use containerd_shim::protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats,
    PidsStat,
};
use fs_err as fs;

use super::{number, page_sizes, table};

pub(super) fn metrics(folder: &Path) -> Metrics {
    Metrics {
        cpu: Some(cpu(folder)).into(),
        memory: Some(memory(folder)).into(),
        memory_events: Some(memory_events(folder)).into(),
        pids: Some(pids(folder)).into(),
        io: Some(devices(folder)).into(),
        hugetlb: huge_pages(folder),
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
        psi: pressure(folder, "cpu.pressure").into(),
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
        psi: pressure(folder, "memory.pressure").into(),
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
        psi: pressure(folder, "io.pressure").into(),
        ..IOStat::default()
    }
}

/// Returns how long processes waited for a resource, where the kernel counts it.
fn pressure(folder: &Path, file: &str) -> Option<PSIStats> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    let share = |kind: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let get = |name: &str| {
            let mut values = line.split(' ').filter_map(|field| field.split_once('='));
            Some(values.find(|(key, _)| *key == name)?.1)
        };
        let average = |name: &str| get(name).and_then(|value| value.parse().ok());
        Some(PSIData {
            avg10: average("avg10").unwrap_or(0.0),
            avg60: average("avg60").unwrap_or(0.0),
            avg300: average("avg300").unwrap_or(0.0),
            total: get("total")?.parse().ok()?,
            ..PSIData::default()
        })
    };
    Some(PSIStats {
        some: share("some").into(),
        full: share("full").into(),
        ..PSIStats::default()
    })
}

fn huge_pages(folder: &Path) -> Vec<HugeTlbStat> {
    let stat = |size: String| {
        let get = |what: &str| number(folder, &format!("hugetlb.{size}.{what}"));
        let events = table(folder, &format!("hugetlb.{size}.events"));
        HugeTlbStat {
            current: get("current"),
            max: get("max"),
            failcnt: events.get("max").copied().unwrap_or(0),
            pagesize: size,
            ..HugeTlbStat::default()
        }
    };
    page_sizes(folder, "current")
        .into_iter()
        .map(stat)
        .collect()
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
        assert!(metrics.cpu.psi.is_none() && metrics.hugetlb.is_empty());
    }

    #[test]
    fn pressure_and_huge_pages_are_told_where_the_kernel_counts_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let both = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        file("memory.pressure", both);
        file(
            "cpu.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
        );
        file("io.pressure", "");
        file("hugetlb.2MB.current", "4194304\n");
        file("hugetlb.2MB.max", "max\n");
        file("hugetlb.2MB.events", "max 3\n");
        let metrics = metrics(folder.path());
        let memory = &metrics.memory.psi;
        assert_eq!((memory.some.total, memory.full.total), (1234, 7));
        assert!((memory.some.avg10 - 1.5).abs() < 1e-9);
        assert_eq!(metrics.cpu.psi.some.total, 9);
        assert!(metrics.cpu.psi.full.is_none() && metrics.io.psi.some.is_none());
        let pages = &metrics.hugetlb[0];
        assert_eq!(
            (pages.pagesize.as_str(), pages.current, pages.failcnt),
            ("2MB", 4_194_304, 3)
        );
        assert_eq!(pages.max, u64::MAX);
    }
}
