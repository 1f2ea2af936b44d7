# The monitors of the formal machine are part of the library: vmctl needs no files for them.
set_source_files_properties(${ROOM_DIR}/monitor_source.S PROPERTIES OBJECT_DEPENDS
  "${CMAKE_SOURCE_DIR}/etc/isa/pg/vmm.pg;${CMAKE_SOURCE_DIR}/etc/isa/pg/hybrid.pg")
