/* Files that are part of the library; room.cmake names them too, so that a change is seen. */
    .section .rodata
    .macro embed name, file
    .globl \name\()_begin, \name\()_end
    .hidden \name\()_begin, \name\()_end
\name\()_begin:
    .incbin "\file"
\name\()_end:
    .endm

    embed pg_monitor_builtin, "etc/isa/pg/vmm.pg"
    embed pg_monitor_hybrid, "etc/isa/pg/hybrid.pg"
    embed pg_report_style, "engine/virtualizability/report.css"

    .section .note.GNU-stack, "", @progbits
