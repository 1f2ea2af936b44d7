#include "engine/linux/fs_proc.h"
void lx_net_free(struct lx_vfs *v)
{
    (void)v;
}
void lx_proc_sys_net_tcp(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)p, (void)tid, (void)b;
}
void lx_proc_sys_net_udp(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)p, (void)tid, (void)b;
}
void lx_proc_sys_net_unix(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)p, (void)tid, (void)b;
}
