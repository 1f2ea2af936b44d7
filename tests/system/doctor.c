/* tests/system/doctor.c - asks the daemon at $VMD_SOCKET for its checks; a line each: verdict, name, what was found, advice. */
#include "engine/base/base.h"
#include "proto/client.h"
#include "proto/daemon.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool over;

static void on_message(void *ctx, const ProtobufCMessage *m)
{
    static const char *const verdicts[] = {"?", "OK", "WARNING", "FAILED"};
    const PbDoctorResponse *r = (const PbDoctorResponse *)m;
    (void)ctx;
    for (size_t i = 0; i < r->n_checks; i++) {
        const PbDoctorCheck *c = r->checks[i];
        printf("%s|%s|%s|%s\n", verdicts[c->verdict & 3], c->name, c->found, c->advice);
    }
}

static void on_done(void *ctx, const struct err *err)
{
    (void)ctx;
    if (err)
        printf("error: %s\n", err->text);
    over = true;
}

int main(void)
{
    static const struct pb_rpc_ops ops = {on_message, on_done};
    PbDoctorRequest request = PB_DOCTOR_REQUEST__INIT;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct pb_client *client;
    struct pb_rpc *rpc;
    struct err err;
    CLEANUP(buf_fini) struct buf out = {0};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", getenv("VMD_SOCKET"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) || pb_client_new(&client, &err) ||
        pb_rpc_start(client, PB_METHOD_doctor, &ops, NULL, 0, &rpc, &err))
        return 1;
    pb_rpc_send(rpc, &request.base);
    pb_rpc_half_close(rpc);
    while (!over) {
        uint8_t bytes[65536];
        if (pb_client_send(client, &out, SIZE_MAX, &err) ||
            (out.len && write(fd, out.data, out.len) != (ssize_t)out.len))
            return 1;
        out.len = 0;
        if (over)
            break;
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0 || pb_client_recv(client, bytes, (size_t)n, &err))
            return 1;
    }
    pb_client_free(client);
    return 0;
}
