/* The monitors' sources, for monitor.c. room.cmake says what this file is made from. */
    .section .rodata
    .globl pg_monitor_builtin_begin, pg_monitor_builtin_end, pg_monitor_hybrid_begin, pg_monitor_hybrid_end
    .hidden pg_monitor_builtin_begin, pg_monitor_builtin_end, pg_monitor_hybrid_begin, pg_monitor_hybrid_end
pg_monitor_builtin_begin:
    .incbin "etc/isa/pg/vmm.pg"
pg_monitor_builtin_end:
pg_monitor_hybrid_begin:
    .incbin "etc/isa/pg/hybrid.pg"
pg_monitor_hybrid_end:
    .section .note.GNU-stack, "", @progbits
