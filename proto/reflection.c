/* grpc.reflection.v1 and v1alpha. */
#include "proto/descriptors.h"
#include "proto/grpc/reflection/v1/reflection.pb-c.h"
#include "proto/standard.h"

#include <stdlib.h>
#include <string.h>

static void answer(struct pb_call *call, const PbServerReflectionRequest *r,
                   PbServerReflectionResponse *resp)
{
    resp->valid_host = r->host;
    resp->original_request = (PbServerReflectionRequest *)(uintptr_t)r;
    pb_call_send(call, &resp->base);
}

/* What cannot be told is an answer too: the stream goes on. */
static void refuse(struct pb_call *call, const PbServerReflectionRequest *r, enum err_code code,
                   const char *what, const char *name)
{
    PbServerReflectionResponse resp = PB_SERVER_REFLECTION_RESPONSE__INIT;
    PbErrorResponse error = PB_ERROR_RESPONSE__INIT;
    struct err err;
    err_set(&err, code, "%s%s%.200s%s", what, name ? " \"" : "", name ? name : "",
            name ? "\"" : "");
    error.error_code = err_grpc(code);
    error.error_message = err.text;
    resp.message_response_case = PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    resp.error_response = &error;
    answer(call, r, &resp);
}

static void send_file(struct pb_call *call, const PbServerReflectionRequest *r, struct pb_file file)
{
    PbServerReflectionResponse resp = PB_SERVER_REFLECTION_RESPONSE__INIT;
    PbFileDescriptorResponse files = PB_FILE_DESCRIPTOR_RESPONSE__INIT;
    struct pb_descriptors api = pb_descriptors_of_api();
    size_t max = pb_file_count(api);
    struct pb_file *closure = calloc(max, sizeof *closure);
    ProtobufCBinaryData *bytes = calloc(max, sizeof *bytes);
    if (!closure || !bytes) {
        refuse(call, r, ERR_NO_MEMORY, "no memory for descriptors", NULL);
    } else {
        files.n_file_descriptor_proto = pb_file_closure(api, file, closure, max);
        for (size_t i = 0; i < files.n_file_descriptor_proto; i++)
            bytes[i] = (ProtobufCBinaryData){closure[i].n, (uint8_t *)(uintptr_t)closure[i].p};
        files.file_descriptor_proto = bytes;
        resp.message_response_case =
            PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
        resp.file_descriptor_response = &files;
        answer(call, r, &resp);
    }
    free(closure);
    free(bytes);
}

static void list_services(struct pb_call *call, const PbServerReflectionRequest *r)
{
    PbServerReflectionResponse resp = PB_SERVER_REFLECTION_RESPONSE__INIT;
    PbListServiceResponse list = PB_LIST_SERVICE_RESPONSE__INIT;
    PbServiceResponse each[PB_METHOD_ALL_COUNT], *pointers[PB_METHOD_ALL_COUNT];
    for (unsigned i = 0; i < PB_METHOD_ALL_COUNT; i++) { /* a service's methods stand together */
        if (i && !strcmp(pb_methods[i].service, pb_methods[i - 1].service))
            continue;
        PbServiceResponse *s = &each[list.n_service];
        pb_service_response__init(s);
        s->name = (char *)(uintptr_t)pb_methods[i].service;
        pointers[list.n_service++] = s;
    }
    list.service = pointers;
    resp.message_response_case =
        PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    resp.list_services_response = &list;
    answer(call, r, &resp);
}

static void extension_numbers(struct pb_call *call, const PbServerReflectionRequest *r)
{
    PbServerReflectionResponse resp = PB_SERVER_REFLECTION_RESPONSE__INIT;
    PbExtensionNumberResponse numbers = PB_EXTENSION_NUMBER_RESPONSE__INIT;
    struct pb_descriptors api = pb_descriptors_of_api();
    const char *type = r->all_extension_numbers_of_type;
    if (!pb_message_known(api, type)) {
        refuse(call, r, ERR_NOT_FOUND, "no message", type);
        return;
    }
    size_t n = pb_extension_numbers(api, type, NULL, 0);
    int32_t *all = calloc(n + 1, sizeof *all);
    if (!all) {
        refuse(call, r, ERR_NO_MEMORY, "no memory for extension numbers", NULL);
        return;
    }
    numbers.base_type_name = (char *)(uintptr_t)type;
    numbers.n_extension_number = pb_extension_numbers(api, type, all, n);
    numbers.extension_number = all;
    resp.message_response_case =
        PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    resp.all_extension_numbers_response = &numbers;
    answer(call, r, &resp);
    free(all);
}

void pb_reflection_v1(struct pb_call *call, const ProtobufCMessage *m)
{
    const PbServerReflectionRequest *r = (const PbServerReflectionRequest *)m;
    struct pb_descriptors api = pb_descriptors_of_api();
    struct pb_file file;
    switch (r->message_request_case) {
    case PB_SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        list_services(call, r);
        break;
    case PB_SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        if (pb_file_by_name(api, r->file_by_filename, &file))
            send_file(call, r, file);
        else
            refuse(call, r, ERR_NOT_FOUND, "no file", r->file_by_filename);
        break;
    case PB_SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        if (pb_file_by_symbol(api, r->file_containing_symbol, &file))
            send_file(call, r, file);
        else
            refuse(call, r, ERR_NOT_FOUND, "no symbol", r->file_containing_symbol);
        break;
    case PB_SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION: {
        const PbExtensionRequest *e = r->file_containing_extension;
        if (pb_file_by_extension(api, e->containing_type, e->extension_number, &file))
            send_file(call, r, file);
        else
            refuse(call, r, ERR_NOT_FOUND, "no such extension of", e->containing_type);
        break;
    }
    case PB_SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        extension_numbers(call, r);
        break;
    default:
        refuse(call, r, ERR_INVALID, "the request asks for nothing that is known here", NULL);
    }
    pb_call_pause(call); /* until this answer is on its way */
}

void pb_reflection_v1alpha(struct pb_call *call, const ProtobufCMessage *m)
{
    pb_reflection_v1(call, m); /* the same bytes under another name */
}

void pb_reflection_pull(struct pb_call *call)
{
    pb_call_resume(call);
}

void pb_reflection_half_close(struct pb_call *call)
{
    pb_call_finish(call, NULL);
}
