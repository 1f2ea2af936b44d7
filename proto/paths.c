#include "proto/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

res_t pb_default_socket(char out[PB_PATH_MAX], struct err *err)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    int n;
    if (geteuid() == 0)
        n = snprintf(out, PB_PATH_MAX, "/run/vmd/vmd.sock");
    else if (run && run[0] == '/')
        n = snprintf(out, PB_PATH_MAX, "%s/vmd/vmd.sock", run);
    else
        n = snprintf(out, PB_PATH_MAX, "/tmp/vmd-%u/vmd.sock", (unsigned)geteuid());
    if (n < 0 || (size_t)n >= sizeof((struct sockaddr_un *)0)->sun_path)
        return err_set(err, ERR_INVALID, "XDG_RUNTIME_DIR is too long for a socket; use --socket");
    return OK;
}

res_t pb_default_state(char out[PB_PATH_MAX], struct err *err)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n;
    if (geteuid() == 0)
        n = snprintf(out, PB_PATH_MAX, "/var/lib/vmd");
    else if (data && data[0] == '/')
        n = snprintf(out, PB_PATH_MAX, "%s/vmd", data);
    else if (home && home[0] == '/')
        n = snprintf(out, PB_PATH_MAX, "%s/.local/share/vmd", home);
    else
        return err_set(err, ERR_INVALID, "no HOME to keep state in; use --state");
    if (n < 0 || n >= PB_PATH_MAX)
        return err_set(err, ERR_INVALID, "path of the state folder is too long");
    return OK;
}

res_t pb_private_dir_check(const char *dir, struct err *err)
{
    struct stat st;
    if (lstat(dir, &st) < 0)
        return err_set_os(err, "%s", dir);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_DENIED, "%s is not a folder", dir);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(err, ERR_DENIED, "%s belongs to user %u, not to you", dir,
                       (unsigned)st.st_uid);
    if (st.st_mode & 022)
        return err_set(err, ERR_DENIED, "%s can be written by others (mode %03o)", dir,
                       (unsigned)st.st_mode & 0777);
    return OK;
}

res_t pb_private_dir(const char *dir, struct err *err)
{
    char path[PB_PATH_MAX];
    size_t n = strlen(dir);
    if (n == 0 || n >= sizeof path)
        return err_set(err, ERR_INVALID, "bad path of a folder");
    memcpy(path, dir, n + 1);
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char was = *p;
        *p = 0;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_set_os(err, "mkdir %s", path);
        *p = was;
        if (!was)
            break;
    }
    return pb_private_dir_check(dir, err);
}

static bool name_valid(const char *s, size_t max, const char *punctuation)
{
    size_t n = strlen(s);
    if (n == 0 || n > max)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || !strchr(punctuation, c)))
            return false;
    }
    return true;
}

bool pb_guest_name_valid(const char *s)
{
    return name_valid(s, PB_GUEST_NAME_MAX, "._-");
}

bool pb_image_name_valid(const char *s)
{
    return name_valid(s, PB_IMAGE_NAME_MAX, "._-:/") && !pb_digest_valid(s);
}

bool pb_digest_valid(const char *s)
{
    return strlen(s) == 71 && !strncmp(s, "sha256-", 7) && strspn(s + 7, "0123456789abcdef") == 64;
}
