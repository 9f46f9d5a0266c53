//! Numbers of control groups of the first kind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use containerd_shim::protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl,
    MemoryStat, Metrics, PidsStat, Throttle,
};
use fs_err as fs;

use super::{number, page_sizes, table};

/// The kernel counts user and system time in hundredths of a second, on every machine.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn metrics(controllers: &BTreeMap<String, PathBuf>) -> Metrics {
    let at = |name: &str| controllers.get(name).map(PathBuf::as_path);
    Metrics {
        cpu: Some(cpu(at("cpu"), at("cpuacct"))).into(),
        memory: at("memory").map(memory).into(),
        memory_oom_control: at("memory").map(out_of_memory).into(),
        pids: at("pids").map(pids).into(),
        blkio: at("blkio").map(block_devices).into(),
        hugetlb: at("hugetlb").map(huge_pages).unwrap_or_default(),
        ..Metrics::default()
    }
}

fn cpu(cpu: Option<&Path>, accounting: Option<&Path>) -> CPUStat {
    let usage = accounting.map(|folder| {
        let ticks = table(folder, "cpuacct.stat");
        let time = |name: &str| ticks.get(name).copied().unwrap_or(0) * NANOSECONDS_PER_TICK;
        let each = fs::read_to_string(folder.join("cpuacct.usage_percpu")).unwrap_or_default();
        CPUUsage {
            total: number(folder, "cpuacct.usage"),
            kernel: time("system"),
            user: time("user"),
            per_cpu: each
                .split_whitespace()
                .filter_map(|text| text.parse().ok())
                .collect(),
            ..CPUUsage::default()
        }
    });
    let throttling = cpu.map(|folder| {
        let stat = table(folder, "cpu.stat");
        let get = |name: &str| stat.get(name).copied().unwrap_or(0);
        Throttle {
            periods: get("nr_periods"),
            throttled_periods: get("nr_throttled"),
            throttled_time: get("throttled_time"),
            ..Throttle::default()
        }
    });
    CPUStat {
        usage: usage.into(),
        throttling: throttling.into(),
        ..CPUStat::default()
    }
}

fn memory(folder: &Path) -> MemoryStat {
    let stat = table(folder, "memory.stat");
    let get = |name: &str| stat.get(name).copied().unwrap_or(0);
    let entry = |prefix: &str| {
        Some(MemoryEntry {
            usage: number(folder, &format!("{prefix}.usage_in_bytes")),
            limit: number(folder, &format!("{prefix}.limit_in_bytes")),
            max: number(folder, &format!("{prefix}.max_usage_in_bytes")),
            failcnt: number(folder, &format!("{prefix}.failcnt")),
            ..MemoryEntry::default()
        })
        .into()
    };
    MemoryStat {
        cache: get("cache"),
        rss: get("rss"),
        rss_huge: get("rss_huge"),
        mapped_file: get("mapped_file"),
        dirty: get("dirty"),
        writeback: get("writeback"),
        pg_pg_in: get("pgpgin"),
        pg_pg_out: get("pgpgout"),
        pg_fault: get("pgfault"),
        pg_maj_fault: get("pgmajfault"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        hierarchical_memory_limit: get("hierarchical_memory_limit"),
        hierarchical_swap_limit: get("hierarchical_memsw_limit"),
        total_cache: get("total_cache"),
        total_rss: get("total_rss"),
        total_rss_huge: get("total_rss_huge"),
        total_mapped_file: get("total_mapped_file"),
        total_dirty: get("total_dirty"),
        total_writeback: get("total_writeback"),
        total_pg_pg_in: get("total_pgpgin"),
        total_pg_pg_out: get("total_pgpgout"),
        total_pg_fault: get("total_pgfault"),
        total_pg_maj_fault: get("total_pgmajfault"),
        total_inactive_anon: get("total_inactive_anon"),
        total_active_anon: get("total_active_anon"),
        total_inactive_file: get("total_inactive_file"),
        total_active_file: get("total_active_file"),
        total_unevictable: get("total_unevictable"),
        usage: entry("memory"),
        swap: entry("memory.memsw"),
        kernel: entry("memory.kmem"),
        kernel_tcp: entry("memory.kmem.tcp"),
        ..MemoryStat::default()
    }
}

fn out_of_memory(folder: &Path) -> MemoryOomControl {
    let control = table(folder, "memory.oom_control");
    let get = |name: &str| control.get(name).copied().unwrap_or(0);
    MemoryOomControl {
        oom_kill_disable: get("oom_kill_disable"),
        under_oom: get("under_oom"),
        oom_kill: get("oom_kill"),
        ..MemoryOomControl::default()
    }
}

fn pids(folder: &Path) -> PidsStat {
    let limit = number(folder, "pids.max");
    PidsStat {
        current: number(folder, "pids.current"),
        // containerd reads 0 as no limit.
        limit: if limit == u64::MAX { 0 } else { limit },
        ..PidsStat::default()
    }
}

fn huge_pages(folder: &Path) -> Vec<HugetlbStat> {
    let stat = |size: String| {
        let get = |what: &str| number(folder, &format!("hugetlb.{size}.{what}"));
        HugetlbStat {
            usage: get("usage_in_bytes"),
            max: get("max_usage_in_bytes"),
            failcnt: get("failcnt"),
            pagesize: size,
            ..HugetlbStat::default()
        }
    };
    let sizes = page_sizes(folder, "usage_in_bytes");
    sizes.into_iter().map(stat).collect()
}

fn block_devices(folder: &Path) -> BlkIOStat {
    let entries = |files: [&str; 2]| {
        let text = files.iter().find_map(|file| {
            let text = fs::read_to_string(folder.join(file)).ok()?;
            text.contains(':').then_some(text)
        });
        let text = text.unwrap_or_default();
        text.lines().filter_map(block_device).collect()
    };
    BlkIOStat {
        io_service_bytes_recursive: entries([
            "blkio.throttle.io_service_bytes_recursive",
            "blkio.io_service_bytes_recursive",
        ]),
        io_serviced_recursive: entries([
            "blkio.throttle.io_serviced_recursive",
            "blkio.io_serviced_recursive",
        ]),
        ..BlkIOStat::default()
    }
}

/// Parses `8:0 Read 4096`.
fn block_device(line: &str) -> Option<BlkIOEntry> {
    let mut fields = line.split_whitespace();
    let (major, minor) = fields.next()?.split_once(':')?;
    Some(BlkIOEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: fields.next()?.to_owned(),
        value: fields.next()?.parse().ok()?,
        ..BlkIOEntry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_counted_where_its_controller_is_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        file("cpuacct.usage", "123456789\n");
        file("cpuacct.stat", "user 5\nsystem 7\n");
        file("memory.usage_in_bytes", "4096\n");
        file("memory.stat", "total_inactive_file 1024\n");
        file("pids.max", "max\n");
        file("hugetlb.1GB.usage_in_bytes", "0\n");
        file("hugetlb.1GB.failcnt", "5\n");
        let controllers = ["cpu", "cpuacct", "memory", "pids", "hugetlb"]
            .map(|name| (name.to_owned(), folder.path().to_owned()))
            .into();
        let metrics = metrics(&controllers);
        assert_eq!(metrics.cpu.usage.total, 123_456_789);
        assert_eq!(metrics.cpu.usage.kernel, 70_000_000);
        assert_eq!(metrics.memory.usage.usage, 4096);
        assert_eq!(metrics.memory.total_inactive_file, 1024);
        assert_eq!(metrics.pids.limit, 0);
        let pages = &metrics.hugetlb[0];
        assert_eq!((pages.pagesize.as_str(), pages.failcnt), ("1GB", 5));
    }

    #[test]
    fn a_block_devices_line_has_its_numbers() {
        let entry = block_device("8:16 Write 512").unwrap();
        assert_eq!(
            (entry.major, entry.minor, entry.op.as_str(), entry.value),
            (8, 16, "Write", 512)
        );
        assert!(block_device("Total 512").is_none());
    }
}
