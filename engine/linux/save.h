/*
 * linux/save.h - what the saving and the loading half of the process side's snapshot agree on.
 *
 * Looks into: process.h, snapshot.  Used by: save.c, restore.c.
 *
 * Section LXKR: {window bits, clocks, counters, names}, the file side's own sections, objects {id, object}*, spaces {brk, vdso, space}*,
 * signal handler tables, processes (ascending pid), threads (ascending tid; a blocked call as its record: waiting is rebuilt by
 * running the handler again). Spaces and handler tables are named by their index.
 */
#ifndef LINUX_SAVE_H
#define LINUX_SAVE_H

#include "engine/linux/process.h"
#include "engine/snapshot/snapshot.h"

#define LX_SNAP_TAG SNAP_TAG('L', 'X', 'K', 'R')
#define LX_SNAP_PROCESS SNAP_TAG('L', 'X', 'P', 'R')
#define LX_SNAP_THREAD SNAP_TAG('L', 'X', 'T', 'H')
#define LX_SNAP_VERSION 1
#define LX_SNAP_NONE UINT32_MAX
#define LX_SNAP_PID_MAX 32768

#endif
