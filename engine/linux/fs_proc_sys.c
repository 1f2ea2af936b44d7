/* procfs: texts about the whole guest (proc(5)). */
#include "engine/linux/fs_proc.h"
#include "engine/linux/process.h"

typedef unsigned long long ull;
#define TEXT(name) \
    void lx_proc_##name(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
#define IGNORE (void)lx, (void)p, (void)tid

TEXT(sys_meminfo)
{
    IGNORE;
    const struct lx_config *cfg = lx_config_of(lx);
    uint64_t total = cfg->memory_bytes, used = mem_pool_committed_bytes(cfg->pool),
             shm = lx_vfs_overlay_bytes(lx_vfs_of(lx));
    ull all = total / 1024, left = (total - MIN(used, total)) / 1024;
    buf_printf(b,
               "MemTotal:       %8llu kB\nMemFree:        %8llu kB\nMemAvailable:   %8llu "
               "kB\nBuffers:               0 kB\n",
               all, left, left);
    buf_printf(b,
               "Cached:         %8llu kB\nSwapCached:            0 kB\nActive:         %8llu "
               "kB\nInactive:              0 kB\n",
               (ull)(shm / 1024), all - left);
    buf_printf(b,
               "SwapTotal:             0 kB\nSwapFree:              0 kB\nDirty:                 0 "
               "kB\nAnonPages:      %8llu kB\n",
               all - left);
    buf_printf(b,
               "Shmem:          %8llu kB\nSlab:                  0 kB\nSReclaimable:          0 "
               "kB\nCommitLimit:    %8llu kB\n",
               (ull)(shm / 1024), all);
    buf_printf(b,
               "Committed_AS:   %8llu kB\nHugePages_Total:       0\nHugePages_Free:        "
               "0\nHugepagesize:       2048 kB\n",
               all - left);
}

TEXT(sys_cpuinfo)
{
    IGNORE;
    for (uint32_t k = 0; k < MAX(lx_config_of(lx)->vcpus, 1u); k++)
        buf_printf(b,
                   "processor\t: %u\nhart\t\t: %u\nisa\t\t: "
                   "rv64imafdc_zicntr_zicsr_zifencei\nmmu\t\t: sv39\nuarch\t\t: vivarium\n\n",
                   k, k);
}

TEXT(sys_uptime)
{
    IGNORE;
    ull up = lx_monotonic_ns(lx) / 10000000u, idle = up * MAX(lx_config_of(lx)->vcpus, 1u);
    ull busy = lx_total_cpu_ns(lx) / 10000000u;
    idle -= MIN(busy, idle);
    buf_printf(b, "%llu.%02llu %llu.%02llu\n", up / 100, up % 100, idle / 100, idle % 100);
}

struct census {
    uint32_t all, running, last;
};

static void count_process(void *ctx, struct lx_process *p)
{
    struct census *n = ctx;
    n->all += lx_process_thread_count(p);
    n->running += lx_process_state(p) == 'R';
    n->last = MAX(n->last, p->pid);
}

TEXT(sys_loadavg)
{
    IGNORE;
    struct census n = {0};
    lx_process_each(lx, count_process, &n);
    buf_printf(b, "0.00 0.00 0.00 %u/%u %u\n", n.running, n.all, n.last);
}

TEXT(sys_stat)
{
    IGNORE;
    struct census n = {0};
    uint32_t cpus = MAX(lx_config_of(lx)->vcpus, 1u);
    lx_process_each(lx, count_process, &n);
    ull up = lx_monotonic_ns(lx) / 10000000u, busy = lx_total_cpu_ns(lx) / 10000000u,
        idle = up * cpus;
    idle -= MIN(busy, idle);
    buf_printf(b, "cpu  %llu 0 0 %llu 0 0 0 0 0 0\n", busy, idle);
    for (uint32_t k = 0; k < cpus; k++)
        buf_printf(b, "cpu%u %llu 0 0 %llu 0 0 0 0 0 0\n", k, busy / cpus, idle / cpus);
    buf_printf(b, "intr 0\nctxt 0\nbtime %llu\nprocesses %llu\nprocs_running %u\nprocs_blocked 0\n",
               (ull)((lx_realtime_ns(lx) - lx_monotonic_ns(lx)) / 1000000000u),
               (ull)lx_total_forks(lx), MAX(n.running, 1u));
}

#define RELEASE "6.12.0-vivarium"

TEXT(sys_version)
{
    IGNORE;
    buf_printf(b, "Linux version " RELEASE " (vivarium) #1 SMP Vivarium\n");
}

TEXT(sys_filesystems)
{
    IGNORE;
    buf_printf(
        b,
        "nodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\nnodev\tpipefs\nnodev\tsockfs\nnodev\toverlay\n");
}

TEXT(sys_cmdline)
{
    IGNORE;
    buf_printf(b, "\n");
}

TEXT(sys_hostname)
{
    IGNORE;
    buf_printf(b, "%s\n", lx->name);
}

TEXT(sys_domainname)
{
    IGNORE;
    buf_printf(b, "%s\n", lx->domain);
}

TEXT(sys_osrelease)
{
    IGNORE;
    buf_printf(b, RELEASE "\n");
}

TEXT(sys_ostype)
{
    IGNORE;
    buf_printf(b, "Linux\n");
}

TEXT(sys_kversion)
{
    IGNORE;
    buf_printf(b, "#1 SMP Vivarium\n");
}

TEXT(sys_pid_max)
{
    IGNORE;
    buf_printf(b, "4194304\n");
}

TEXT(sys_ngroups_max)
{
    IGNORE;
    buf_printf(b, "65536\n");
}

TEXT(sys_overcommit)
{
    IGNORE;
    buf_printf(b, "0\n");
}

TEXT(sys_file_max)
{
    IGNORE;
    buf_printf(b, "65536\n");
}

TEXT(sys_pipe_max)
{
    IGNORE;
    buf_printf(b, "1048576\n");
}

TEXT(sys_somaxconn)
{
    IGNORE;
    buf_printf(b, "128\n");
}

TEXT(sys_random_uuid)
{
    IGNORE;
    uint8_t r[16];
    lx_random_bytes(lx, r, sizeof r);
    r[6] = (r[6] & 0x0f) | 0x40;
    r[8] = (r[8] & 0x3f) | 0x80;
    for (int k = 0; k < 16; k++)
        buf_printf(b, k == 4 || k == 6 || k == 8 || k == 10 ? "-%02x" : "%02x", r[k]);
    buf_printf(b, "\n");
}

TEXT(sys_cgroups)
{
    IGNORE;
    buf_printf(b, "#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
}

TEXT(sys_devices)
{
    IGNORE;
    buf_printf(b, "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n  5 "
                  "/dev/ptmx\n136 pts\n\nBlock devices:\n");
}

TEXT(sys_net_dev)
{
    IGNORE;
    buf_printf(b, "Inter-|   Receive                                                |  Transmit\n"
                  " face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
                  "packets errs drop fifo colls carrier "
                  "compressed\n"
                  "    lo:       0       0    0    0    0     0          0         0        0      "
                  " 0    0    0    0     0       0"
                  "          0\n");
}

TEXT(sys_net_route)
{
    IGNORE;
    buf_printf(
        b, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n");
}
