/*
 * linux/fs_save.h - the records of the file side in a snapshot: fs_save.c writes them, fs_load.c reads them.
 *
 * Every object gets a number, from 1 in the order of its table; references are numbers, 0 is none. Names come parents first.
 * Order: counts, pipes, inodes, names, file systems, terminals, sockets, files, what waits in sockets, tables, contexts, locks, console.
 */
#ifndef LINUX_FS_SAVE_H
#define LINUX_FS_SAVE_H

#include "engine/linux/sock.h"
#include "engine/linux/tty.h"
#include "engine/snapshot/snapshot.h"

#define LX_VFS_TAG SNAP_TAG('V', 'F', 'S', ' ')
#define LX_VFS_VERSION 1

enum lx_file_kind {
    LX_F_PATH,
    LX_F_PLAIN,
    LX_F_DEVICE,
    LX_F_TTY,
    LX_F_PTM,
    LX_F_PIPE,
    LX_F_SOCK,
    LX_F_KINDS
};
enum lx_inode_flag {
    LX_I_NID = 1,
    LX_I_DIRTY = 2,
    LX_I_LOWER = 4,
    LX_I_CHARGED = 8,
    LX_I_OBJECT = 16,
    LX_I_MAPPED = 32
};
enum lx_dentry_flag {
    LX_D_HASHED = 1,
    LX_D_UPPER = 2,
    LX_D_WHITEOUT = 4,
    LX_D_COVERS = 8,
    LX_D_DELETED = 16
};
enum lx_sock_flag {
    LX_S_BOUND = 1,
    LX_S_NAMED = 2,
    LX_S_SHUT_RD = 4,
    LX_S_SHUT_WR = 8,
    LX_S_PEER_GONE = 16,
    LX_S_CONNECTING = 32,
    LX_S_PEER_REF = 64
};
enum {
    LX_COUNT_PIPES,
    LX_COUNT_INODES,
    LX_COUNT_NAMES,
    LX_COUNT_TTYS,
    LX_COUNT_SOCKS,
    LX_COUNT_FILES,
    LX_COUNT_TABLES,
    LX_COUNT_CONTEXTS,
    LX_COUNTS
};

#endif
