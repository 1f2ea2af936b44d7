/*
 * import/import.h - vmd-import: makes one image of what a client sends, and goes.
 *
 * Looks into: proto, engine/image (writer).  Used by: its main, tests.
 * Entries are hostile: names, sizes, orders. They are looked into here and nowhere else in the daemon; this
 * process has one socket and one file and ends with its image.
 * Thread: one; it may block.
 */
#ifndef IMPORT_IMPORT_H
#define IMPORT_IMPORT_H

#include "engine/base/err.h"

/* Read ImportImageRequest messages (entry, data) from socket_fd until the empty one, write the image to image_fd.
 * Fails: as img_writer_add, ERR_BAD_MESSAGE, ERR_UNAVAILABLE (the manager is gone). */
res_t imp_run(int socket_fd, int image_fd, struct err *err);

#endif
