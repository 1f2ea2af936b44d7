/*
 * image/layer.c - layers over layers: what an upper one hides or replaces of those below.
 *
 * A name knows the layer that named it last. Hiding works on names of lower layers only, so it does not matter where
 * in its layer a whiteout stands.
 */
#include "engine/image/build.h"

#include <sys/stat.h>

/* Take away what lower layers put below dir. Depth is bounded by limits.depth. */
static void purge(struct img_writer *w, struct inode *dir)
{
    if (dir->purged_layer == w->layer)
        return;
    dir->purged_layer = w->layer;
    for (struct dentry *d = dir->children; d; d = d->sibling) {
        if (!d->inode)
            continue;
        bool is_dir = S_ISDIR(d->inode->mode);
        if (is_dir)
            purge(w, d->inode);
        if (d->layer < w->layer && !(is_dir && d->inode->child_count))
            img_detach(w, d);
    }
}

res_code_t img_replace(struct img_writer *w, const struct img_entry *e, struct where *at,
                       struct err *err)
{
    struct dentry *d = at->there;
    if (d->layer == w->layer)
        return err_set(err, ERR_EXISTS, "%.200s: is in its layer twice", e->path);
    if (S_ISDIR(d->inode->mode)) {
        purge(w, d->inode);
        w->broken = d->inode->child_count != 0; /* what was hidden below it is */
        if (w->broken)
            return err_set(err, ERR_EXISTS,
                           "%.200s: is a directory that its layer put something into", e->path);
    }
    img_detach(w, d);
    at->there = NULL;
    at->rest = d->name;
    at->missing = 1;
    return OK;
}

res_code_t img_writer_hide(struct img_writer *w, const char *path, bool below, struct err *err)
{
    struct where at;
    ASSERT(w->layer);
    if (w->broken)
        return err_set(err, ERR_STATE, "%.200s: writing this image failed before", path);
    if (img_resolve(w, path, &at, err) != OK)
        return FAIL;
    struct inode *i = at.root ? w->inodes[0] : at.there ? at.there->inode : NULL;
    if (!i) /* there was nothing to hide */
        return OK;
    if (S_ISDIR(i->mode))
        purge(w, i);
    if (below || at.root || at.there->layer == w->layer)
        return OK;
    if (!S_ISDIR(i->mode) || !i->child_count)
        img_detach(w, at.there);
    return OK;
}
