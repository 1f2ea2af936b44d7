/*
 * manager/doctor.h - which layers of confinement are active, and whether the host gives guests what they need.
 *
 * Looks into: proto, daemon/confine (names of layers).  Used by: daemon/manager.
 * What a worker says about its own layers is believed as little as anything it says: it is shown, nothing is decided by it.
 * Thread: the loop's.
 */
#ifndef MANAGER_DOCTOR_H
#define MANAGER_DOCTOR_H

#include "daemon/manager/manager.h"
#include "proto/worker.pb-c.h"

/* A worker said hello: keep what it says, and log what is missing, once and when it changes. */
void mgr_layers_heard(struct mgr *m, const PbWorkerHello *hello);
void mgr_layers_fini(struct mgr *m);

#endif
