# The table's generator, and what it makes of the table.
add_executable(isagen ${ROOM_DIR}/gen/isagen.c ${ROOM_DIR}/gen/parse.c ${ROOM_DIR}/gen/check.c
  ${ROOM_DIR}/gen/emit.c ${ROOM_DIR}/gen/emit_decoder.c)
add_custom_command(OUTPUT ${ROOM_OUT}/rv64.h ${ROOM_OUT}/rv64.c
  COMMAND isagen ${ROOM_DIR}/riscv/rv64gc.isa ${ROOM_OUT}/rv64.h ${ROOM_OUT}/rv64.c
  DEPENDS isagen ${ROOM_DIR}/riscv/rv64gc.isa VERBATIM)
set(ROOM_EXTRA_SOURCES ${ROOM_OUT}/rv64.c ${ROOM_OUT}/rv64.h)
