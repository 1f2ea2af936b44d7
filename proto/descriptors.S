/* The API's descriptor set, as the build made it (room.cmake), among the constants. */
    .section .rodata
    .balign 16
    .globl pb_descriptor_set
    .hidden pb_descriptor_set
pb_descriptor_set:
    .incbin API_DESCRIPTORS
    .globl pb_descriptor_set_end
    .hidden pb_descriptor_set_end
pb_descriptor_set_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
