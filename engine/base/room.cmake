# The soft floating point must not touch the host's: not even to copy with its registers.
set_source_files_properties(${ROOM_DIR}/softfp.c PROPERTIES COMPILE_OPTIONS -mgeneral-regs-only)
