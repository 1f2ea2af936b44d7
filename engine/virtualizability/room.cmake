# What embedded.S makes part of the library: vmctl needs no files for it.
set_source_files_properties(${ROOM_DIR}/embedded.S PROPERTIES OBJECT_DEPENDS
  "${CMAKE_SOURCE_DIR}/etc/isa/pg/vmm.pg;${CMAKE_SOURCE_DIR}/etc/isa/pg/hybrid.pg;${ROOM_DIR}/report.css")
