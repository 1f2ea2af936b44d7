# The .proto files become <build>/proto/<name>.pb-c.[ch]. protoc-c names things after the package
# (Vmd__V1__Guest, vmd__v1__guest__init); this room's prefix is put in its place (PbGuest, pb_guest__init; google.rpc:
# PbRpcStatus). Descriptors keep their full protobuf names.
# The same files, but for worker.proto, also become one descriptor set: what reflection tells clients about the API.
find_program(PROTOC_C protoc-c REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
find_path(GRPC_PROTO grpc/health/v1/health.proto PATHS /usr/share/grpc-proto NO_DEFAULT_PATH REQUIRED) # Debian's grpc-proto
find_path(PROTOBUF_PROTO google/protobuf/any.proto PATHS /usr/include NO_DEFAULT_PATH REQUIRED)        # libprotobuf-dev

set(own guest.proto image.proto event.proto daemon.proto rpc_status.proto)
set(grpc grpc/health/v1/health.proto grpc/reflection/v1/reflection.proto)
set(google google/protobuf/any.proto google/protobuf/duration.proto)
set(includes -I${ROOM_DIR} -I${GRPC_PROTO} -I${PROTOBUF_PROTO})

foreach(proto ${own} worker.proto import.proto state.proto ${grpc} ${google})
  string(REGEX REPLACE "\\.proto$" "" name ${proto})
  set(made ${ROOM_OUT}/${name}.pb-c.c ${ROOM_OUT}/${name}.pb-c.h)
  if(EXISTS ${ROOM_DIR}/${proto})
    set(from ${ROOM_DIR}/${proto})
  else()
    set(from "") # a package's; it does not change under us
  endif()
  add_custom_command(
    OUTPUT ${made}
    COMMAND ${PROTOC_C} ${includes} --c_out=${ROOM_OUT} ${proto}
    COMMAND sed -i -E
      "s/(Vmd__((Worker|State)__)?|Grpc__(Health|Reflection)__)V1__/Pb/g; s/(vmd__((worker|state)__)?|grpc__(health|reflection)__)v1__/pb_/g; s/(VMD__((WORKER|STATE)__)?|GRPC__(HEALTH|REFLECTION)__)V1__/PB_/g; s/Google__Rpc__/PbRpc/g; s/google__rpc__/pb_rpc_/g; s/GOOGLE__RPC__/PB_RPC_/g; s/Google__Protobuf__/Pb/g; s/google__protobuf__/pb_/g; s/GOOGLE__PROTOBUF__/PB_/g; s/PB_([A-Z_]+)__\\1_/PB_\\1_/g; s/#include \"([a-z_0-9\\/]+\\.pb-c\\.h)\"/#include \"proto\\/\\1\"/"
      ${made}
    DEPENDS ${from} ${ROOM_DIR}/room.cmake
    COMMENT "protoc-c ${proto}" VERBATIM)
  list(APPEND ROOM_EXTRA_SOURCES ${made})
endforeach()

set(depends ${own})
list(TRANSFORM depends PREPEND ${ROOM_DIR}/)
add_custom_command(
  OUTPUT ${ROOM_OUT}/api.descriptors
  COMMAND ${PROTOC_C} ${includes} --include_imports --descriptor_set_out=${ROOM_OUT}/api.descriptors
    ${own} ${grpc} grpc/reflection/v1alpha/reflection.proto
  DEPENDS ${depends} ${ROOM_DIR}/room.cmake
  COMMENT "descriptors of the API" VERBATIM)
set_source_files_properties(${ROOM_DIR}/descriptors.S PROPERTIES
  OBJECT_DEPENDS ${ROOM_OUT}/api.descriptors COMPILE_DEFINITIONS "API_DESCRIPTORS=\"${ROOM_OUT}/api.descriptors\"")
