# The .proto files become <build>/proto/<name>.pb-c.[ch]. protoc-c names things after the package
# (Vmd__V1__Guest, vmd__v1__guest__init); this room's prefix is put in its place (PbGuest, pb_guest__init).
# Descriptors keep their full protobuf names.
find_program(PROTOC_C protoc-c REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
foreach(name guest image event daemon worker import)
  add_custom_command(
    OUTPUT ${ROOM_OUT}/${name}.pb-c.c ${ROOM_OUT}/${name}.pb-c.h
    COMMAND ${PROTOC_C} -I${ROOM_DIR} --c_out=${ROOM_OUT} ${ROOM_DIR}/${name}.proto
    COMMAND sed -i -E
      "s/Vmd__(Worker__)?V1__/Pb/g; s/vmd__(worker__)?v1__/pb_/g; s/VMD__(WORKER__)?V1__/PB_/g; s/PB_([A-Z_]+)__\\1_/PB_\\1_/g; s/#include \"([a-z]+\\.pb-c\\.h)\"/#include \"proto\\/\\1\"/"
      ${ROOM_OUT}/${name}.pb-c.c ${ROOM_OUT}/${name}.pb-c.h
    DEPENDS ${ROOM_DIR}/${name}.proto ${ROOM_DIR}/room.cmake
    COMMENT "protoc-c ${name}.proto" VERBATIM)
  list(APPEND ROOM_EXTRA_SOURCES ${ROOM_OUT}/${name}.pb-c.c ${ROOM_OUT}/${name}.pb-c.h)
endforeach()
