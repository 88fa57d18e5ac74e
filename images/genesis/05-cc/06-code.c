/* i386 code for trees. A value is left in eax, in edx:eax if it has 64 bits, in st(0) if it is floating, and as an address
   in eax if it is a struct. The second operand waits on the stack, so ecx is the only other register that is needed;
   ebx, esi and edi are free too, as no code relies on them. */

struct buffer *text_section;
struct buffer *constants_section;
struct buffer *data_section;
int bss_size;

/* References to symbols, filled in when all addresses are known */
enum { REFERENCE_ABSOLUTE, REFERENCE_RELATIVE };

struct reference {
    int reference_place;
    struct buffer *reference_section;
    struct symbol *reference_symbol;
    int reference_kind;
    struct reference *reference_next;
};

struct reference *references;

/* Adds a word to a section that will be the symbol's address plus `offset`. */
void put_reference(struct buffer *section, int place, struct symbol *symbol, int offset, int kind)
{
    struct reference *reference;

    reference = (struct reference *)allocate(sizeof(struct reference));
    reference->reference_place = place;
    reference->reference_section = section;
    reference->reference_symbol = symbol;
    reference->reference_kind = kind;
    reference->reference_next = references;
    references = reference;
    set_word(section, place, offset);
}

/* Up to four bytes of code, written as one number with the first byte in front: emit(0x89c8) */
void emit(int bytes)
{
    if (bytes & 0xff000000)
        put_byte(text_section, bytes >> 24);
    if (bytes & 0xffff0000)
        put_byte(text_section, bytes >> 16);
    if (bytes & 0xffffff00)
        put_byte(text_section, bytes >> 8);
    put_byte(text_section, bytes);
}

void emit_word(int bytes, int word)
{
    emit(bytes);
    put_word(text_section, word);
}

void emit_symbol(int bytes, struct symbol *symbol, int offset, int kind)
{
    emit_word(bytes, 0);
    put_reference(text_section, text_section->buffer_used - 4, symbol, offset, kind);
}

/* Labels of the function being compiled: their places, and the jumps that wait for them */
enum { LABELS = 65536 };
int label_places[LABELS];
int label_count;

struct jump {
    int jump_place;
    int jump_label;
    struct jump *jump_next;
};

struct jump *jumps;

int new_label(void)
{
    if (label_count == LABELS)
        fail("function too large");
    label_places[label_count] = -1;
    return label_count++;
}

void put_label(int label)
{
    label_places[label] = text_section->buffer_used;
}

enum { JUMP = 0xe9, JUMP_EQUAL = 0x0f84, JUMP_NOT_EQUAL = 0x0f85 };

void emit_jump(int code, int label)
{
    struct jump *jump;

    emit_word(code, 0);
    jump = (struct jump *)allocate(sizeof(struct jump));
    jump->jump_place = text_section->buffer_used - 4;
    jump->jump_label = label;
    jump->jump_next = jumps;
    jumps = jump;
}

void settle_jumps(void)
{
    for (; jumps; jumps = jumps->jump_next)
        set_word(text_section, jumps->jump_place, label_places[jumps->jump_label] - jumps->jump_place - 4);
    label_count = 0;
}

/* Instructions with an operand in memory. `code` is the opcode with the ModRM byte for [disp32] as its last byte, whose
   register field is kept. The operand is given by an address node: a local, a global, in_ecx for what ecx points to, or
   any other for what eax points to, plus an offset. */

struct node *in_ecx;

void emit_operand(int code, struct node *address, int offset)
{
    int base = (code & ~7) | (address == in_ecx);
    if (address->node_kind == NODE_LOCAL)
        emit_word(code | 0x80, address->node_low + offset);
    else if (address->node_kind == NODE_GLOBAL)
        emit_symbol(code, address->node_symbol, address->node_low + offset, REFERENCE_ABSOLUTE);
    else if (offset)
        emit_word(base | 0x80, offset);
    else
        emit(base);
}

void gen(struct node *node);

/* For an address that needs code: computes it into eax. What is left to add is the result. */
int gen_address(struct node *address)
{
    if (is_address(address))
        return 0;
    if (address->node_kind == NODE_ADD && is_constant(address->node_right) && !is_float(address->node_type)) {
        gen(address->node_left);
        return address->node_right->node_low;
    }
    gen(address);
    return 0;
}

/* Instructions that load and store an object, by the kind of its type from TYPE_VOID on, with [] as operand */
int load_codes[] = {
    0,
    0x0fb605, 0x0fbe05, 0x0fbf05,       /* movzx eax, byte; movsx eax, byte; movsx eax, word */
    0x8b05, 0x8b05,                     /* mov eax */
    0xd905, 0xdd05, 0xdb2d,             /* fld dword, qword, tbyte */
    0x8b05
};
int store_codes[] = {
    0,
    0x8805, 0x8805, 0x8905,             /* mov [], al; mov [], ax behind 66 */
    0x8905, 0x8905,                     /* mov [], eax */
    0xd91d, 0xdd1d, 0xdb3d,             /* fstp dword, qword, tbyte */
    0x8905
};

/* Loads an object of a scalar type from memory. */
void emit_load(struct type *type, struct node *address, int offset)
{
    int kind = type->type_kind, code = load_codes[kind];
    if (kind < TYPE_INT && type->type_unsigned)
        code &= ~0x0800;                            /* movsx to movzx */
    if (kind == TYPE_LLONG)
        emit_operand(0x8b15, address, offset + 4);  /* mov edx, [+4] */
    emit_operand(code, address, offset);
}

/* Stores a scalar value. Where the address is in a register, that is ecx. A floating value stays in st(0), rounded. */
void emit_store(struct type *type, struct node *address)
{
    int kind = type->type_kind;
    if (!is_address(address))
        address = in_ecx;
    if (kind == TYPE_SHORT)
        emit(0x66);
    if (kind == TYPE_LDOUBLE)
        emit(0xd9c0);                               /* fld st(0) */
    emit_operand(store_codes[kind], address, 0);
    if (kind == TYPE_LLONG)
        emit_operand(0x8915, address, 4);           /* mov [+4], edx */
    if (kind == TYPE_FLOAT || kind == TYPE_DOUBLE)
        emit_operand(load_codes[kind], address, 0);
}

/* Pushes the value that gen left. */
void push_value(struct type *type)
{
    if (is_float(type)) {
        emit(0x83ec0c);                             /* sub esp, 12 */
        emit(0xdb3c24);                             /* fstp tbyte [esp] */
    } else {
        if (is_64(type))
            emit(0x52);                             /* push edx */
        emit(0x50);                                 /* push eax */
    }
}

/* Whether a 32-bit value can be fetched into ecx without touching eax */
int is_simple(struct node *node)
{
    if (size_of(node->node_type) != 4 || is_float(node->node_type))
        return NO;
    return is_constant(node) || is_address(node) || (node->node_kind == NODE_INDIRECT && is_address(node->node_left));
}

void load_address(int reg, struct node *address)
{
    if (address->node_kind == NODE_LOCAL)
        emit_word(0x8d85 | reg << 3, address->node_low);      /* lea reg, [ebp+n] */
    else
        emit_symbol(0xb8 | reg, address->node_symbol, address->node_low, REFERENCE_ABSOLUTE);
}

void load_ecx(struct node *node)
{
    if (is_constant(node))
        emit_word(0xb9, node->node_low);            /* mov ecx, n */
    else if (is_address(node))
        load_address(1, node);
    else
        emit_operand(0x8b0d, node->node_left, 0);
}

/* Operands of 32-bit operations: left in eax, right in ecx */
void gen_operands(struct node *node)
{
    if (is_simple(node->node_right)) {
        gen(node->node_left);
        load_ecx(node->node_right);
    } else {
        gen(node->node_right);
        emit(0x50);                                 /* push eax */
        gen(node->node_left);
        emit(0x59);                                 /* pop ecx */
    }
}

/* Calls one of the functions of the library that the code generator needs. */
void call_helper(char *name)
{
    struct name *helper = name_of(name);
    if (!helper->name_linked) {
        helper->name_linked = new_global(helper, type_void);
        helper->name_linked->symbol_used = YES;
    }
    emit_symbol(0xe8, helper->name_linked, -4, REFERENCE_RELATIVE);
}

/* 32-bit operations */

/* Those that are one instruction, from NODE_ADD on */
int operation_codes[] = {
    0x01c8, 0x29c8, 0x0fafc1, 0, 0,     /* add, sub, imul eax, ecx */
    0x21c8, 0x09c8, 0x31c8,             /* and, or, xor eax, ecx */
    0xd3e0, 0xd3f8                      /* shl, sar eax, cl */
};

void gen_operation(struct node *node)
{
    int is_unsigned = node->node_type->type_unsigned, kind = node->node_kind;
    if ((kind == NODE_ADD || kind == NODE_MULTIPLY) && is_constant(node->node_right)) {
        gen(node->node_left);
        emit_word(kind == NODE_ADD ? 0x05 : 0x69c0, node->node_right->node_low);    /* add eax, n; imul eax, eax, n */
        return;
    }
    gen_operands(node);
    if (kind == NODE_SHIFT_RIGHT && is_unsigned)
        emit(0xd3e8);                                         /* shr eax, cl */
    else if (kind != NODE_DIVIDE && kind != NODE_MODULO)
        emit(operation_codes[kind - NODE_ADD]);
    else {
        emit(is_unsigned ? 0x31d2 : 0x99);                    /* xor edx, edx or cdq */
        emit(is_unsigned ? 0xf7f1 : 0xf7f9);                  /* div, idiv ecx */
        if (kind == NODE_MODULO)
            emit(0x89d0);                                     /* mov eax, edx */
    }
}

/* 64-bit operations: left in edx:eax, right on the stack, which is freed here */

void gen_operands64(struct node *node)
{
    gen(node->node_right);
    push_value(node->node_right->node_type);
    gen(node->node_left);
}

/* An operation on eax with [esp], and one on edx with [esp+4] */
void emit_pair(int low, int high)
{
    emit(low << 16 | 0x0424);
    emit(high << 24 | 0x542404);
}

void gen_shift64(struct node *node)
{
    gen(node->node_right);
    emit(0x50);                                     /* push eax */
    gen(node->node_left);
    emit(0x59);                                     /* pop ecx */
    int is_left = node->node_kind == NODE_SHIFT_LEFT;
    if (is_left) {
        emit(0x0fa5c2);                             /* shld edx, eax, cl */
        emit(0xd3e0);                               /* shl eax, cl */
    } else {
        emit(0x0fadd0);                             /* shrd eax, edx, cl */
        emit(node->node_type->type_unsigned ? 0xd3ea : 0xd3fa);   /* shr, sar edx, cl */
    }
    emit(0xf6c120);                                 /* test cl, 32 */
    if (is_left) {
        emit(0x7404);                               /* jz over the next two */
        emit(0x89c2);                               /* mov edx, eax */
        emit(0x31c0);                               /* xor eax, eax */
    } else if (node->node_type->type_unsigned) {
        emit(0x7404);
        emit(0x89d0);                               /* mov eax, edx */
        emit(0x31d2);                               /* xor edx, edx */
    } else {
        emit(0x7405);
        emit(0x89d0);                               /* mov eax, edx */
        emit(0xc1fa1f);                             /* sar edx, 31 */
    }
}

void gen_operation64(struct node *node)
{
    int is_unsigned = node->node_type->type_unsigned;
    if (node->node_kind == NODE_SHIFT_LEFT || node->node_kind == NODE_SHIFT_RIGHT) {
        gen_shift64(node);
        return;
    }
    gen_operands64(node);
    switch (node->node_kind) {
    case NODE_ADD: emit_pair(0x03, 0x13); break;
    case NODE_SUBTRACT: emit_pair(0x2b, 0x1b); break;
    case NODE_AND: emit_pair(0x23, 0x23); break;
    case NODE_OR: emit_pair(0x0b, 0x0b); break;
    case NODE_XOR: emit_pair(0x33, 0x33); break;
    case NODE_MULTIPLY:
        emit(0x0faf1424);                           /* imul edx, [esp] */
        emit(0x8b4c2404);                           /* mov ecx, [esp+4] */
        emit(0x0fafc8);                             /* imul ecx, eax */
        emit(0x01d1);                               /* add ecx, edx */
        emit(0xf72424);                             /* mul dword [esp] */
        emit(0x01ca);                               /* add edx, ecx */
        break;
    default:
        push_value(type_llong);
        if (node->node_kind == NODE_DIVIDE)
            call_helper(is_unsigned ? "__udivdi3" : "__divdi3");
        else
            call_helper(is_unsigned ? "__umoddi3" : "__moddi3");
        emit(0x83c408);                             /* add esp, 8 */
    }
    emit(0x83c408);
}

/* Floating operations: left comes to st(0), right to st(1). */

void gen_operands_float(struct node *left, struct node *right)
{
    gen(right);
    push_value(right->node_type);
    gen(left);
    emit(0xdb2c24);                                 /* fld tbyte [esp] */
    emit(0x83c40c);                                 /* add esp, 12 */
    emit(0xd9c9);                                   /* fxch */
}

void gen_operation_float(struct node *node)
{
    gen_operands_float(node->node_left, node->node_right);
    switch (node->node_kind) {
    case NODE_ADD: emit(0xdec1); break;             /* faddp st(1) */
    case NODE_SUBTRACT: emit(0xdee1); break;        /* fsubrp: st(0) - st(1) */
    case NODE_MULTIPLY: emit(0xdec9); break;        /* fmulp st(1) */
    case NODE_DIVIDE: emit(0xdef1); break;          /* fdivrp: st(0) / st(1) */
    }
}

/* Comparisons. The result is the condition code (the low half of the opcode of setcc) under which they hold. */

int unsigned_conditions[] = { 4, 5, 2, 3, 7, 6 };       /* from NODE_EQUAL on */
int signed_conditions[] = { 4, 5, 12, 13, 15, 14 };

int condition_code(int kind, int is_unsigned)
{
    return is_unsigned ? unsigned_conditions[kind - NODE_EQUAL] : signed_conditions[kind - NODE_EQUAL];
}

/* With right > left and right >= left the operands are exchanged, so that each is one of < and >=. */
int gen_comparison64(struct node *node)
{
    int kind = node->node_kind;
    struct node *left = node->node_left;
    struct node *right = node->node_right;
    if (kind == NODE_GREATER || kind == NODE_LESS_EQUAL) {
        left = node->node_right;
        right = node->node_left;
        kind = kind == NODE_GREATER ? NODE_LESS : NODE_GREATER_EQUAL;
    }
    gen(right);
    push_value(right->node_type);
    gen(left);
    if (kind == NODE_EQUAL || kind == NODE_NOT_EQUAL) {
        emit_pair(0x33, 0x33);                      /* xor */
        emit(0x09d0);                               /* or eax, edx */
    } else {
        emit_pair(0x3b, 0x1b);                      /* cmp, sbb */
    }
    emit(0x8d642408);                               /* lea esp, [esp+8]: add would change the flags */
    return condition_code(kind, left->node_type->type_unsigned);
}

/* Not a number compares unequal with everything: < and <= are turned round to > and >=, whose flags say so. == and != are
   computed into eax. */
int gen_comparison_float(struct node *node)
{
    int kind = node->node_kind;
    if (kind == NODE_LESS || kind == NODE_LESS_EQUAL)
        gen_operands_float(node->node_right, node->node_left);
    else
        gen_operands_float(node->node_left, node->node_right);
    emit(0xdfe9);                                   /* fucomip st(1) */
    emit(0xddd8);                                   /* fstp st(0) */
    if (kind == NODE_LESS || kind == NODE_GREATER)
        return condition_code(NODE_GREATER, YES);
    if (kind == NODE_LESS_EQUAL || kind == NODE_GREATER_EQUAL)
        return condition_code(NODE_GREATER_EQUAL, YES);
    emit(0x0f94c0);                                 /* sete al */
    emit(0x0f9bc1);                                 /* setnp cl */
    emit(0x20c8);                                   /* and al, cl */
    emit(0x3401);                                   /* xor al, 1: zero if equal */
    return condition_code(kind, YES);
}

int gen_comparison(struct node *node)
{
    struct type *type = node->node_left->node_type;
    if (is_float(type))
        return gen_comparison_float(node);
    if (is_64(type))
        return gen_comparison64(node);
    if (is_constant(node->node_right)) {
        gen(node->node_left);
        if (node->node_right->node_low == 0)
            emit(0x85c0);                           /* test eax, eax */
        else
            emit_word(0x3d, node->node_right->node_low);      /* cmp eax, n */
    } else {
        gen_operands(node);
        emit(0x39c8);                               /* cmp eax, ecx */
    }
    return condition_code(node->node_kind, type->type_unsigned);
}

/* Jumps to the label if the condition is as `sense` says, else goes on. */
void gen_branch(struct node *node, int label, int sense)
{
    int kind = node->node_kind;
    if (is_constant(node)) {
        if ((node->node_low != 0) == sense)
            emit_jump(JUMP, label);
    } else if (kind >= NODE_EQUAL) {
        kind = gen_comparison(node);
        emit_jump(0x0f80 | (kind ^ !sense), label);
    } else if (kind == NODE_AND_AND || kind == NODE_OR_OR) {
        if ((kind == NODE_OR_OR) == sense) {
            gen_branch(node->node_left, label, sense);
            gen_branch(node->node_right, label, sense);
        } else {
            int other = new_label();
            gen_branch(node->node_left, other, !sense);
            gen_branch(node->node_right, label, sense);
            put_label(other);
        }
    } else {
        gen(node);
        emit(0x85c0);                               /* test eax, eax */
        emit_jump(sense ? JUMP_NOT_EQUAL : JUMP_EQUAL, label);
    }
}

/* Conversions */

/* Makes eax hold the extension of its low bytes. */
void extend_eax(struct type *type)
{
    if (type->type_kind == TYPE_CHAR)
        emit(type->type_unsigned ? 0x0fb6c0 : 0x0fbec0);      /* movzx, movsx eax, al */
    else if (type->type_kind == TYPE_SHORT)
        emit(type->type_unsigned ? 0x0fb7c0 : 0x0fbfc0);      /* movzx, movsx eax, ax */
}

void integer_to_float(struct type *from)
{
    if (is_64(from) && from->type_unsigned) {
        push_value(from);
        call_helper("__floatundixf");
        emit(0x83c408);                             /* add esp, 8 */
        return;
    }
    if (is_64(from))
        emit(0x52);                                 /* push edx */
    else if (from->type_unsigned)
        emit(0x6a00);                               /* push 0 */
    emit(0x50);                                     /* push eax */
    if (is_64(from) || from->type_unsigned) {
        emit(0xdf2c24);                             /* fild qword [esp] */
        emit(0x83c408);
    } else {
        emit(0xdb0424);                             /* fild dword [esp] */
        emit(0x83c404);
    }
}

/* The x87 unit rounds as its control word says; C truncates. */
void float_to_integer(struct type *to)
{
    if (is_64(to) && to->type_unsigned) {
        push_value(type_ldouble);
        call_helper("__fixunsxfdi");
        emit(0x83c40c);                             /* add esp, 12 */
        return;
    }
    emit(0x83ec0c);                                 /* sub esp, 12 */
    emit(0xd93c24);                                 /* fnstcw [esp] */
    emit(0x8b0424);                                 /* mov eax, [esp] */
    emit(0x80cc0c);                                 /* or ah, 12: truncate */
    emit(0x89442402);                               /* mov [esp+2], eax */
    emit(0xd96c2402);                               /* fldcw [esp+2] */
    emit(0xdf7c2404);                               /* fistp qword [esp+4] */
    emit(0xd92c24);                                 /* fldcw [esp] */
    emit(0x59);                                     /* pop ecx */
    emit(0x58);                                     /* pop eax */
    emit(0x5a);                                     /* pop edx */
    extend_eax(to);
}

/* Storing and loading again rounds a floating value. */
void round_st0(struct type *type)
{
    emit(0x83ec08);                                 /* sub esp, 8 */
    if (type->type_kind == TYPE_FLOAT) {
        emit(0xd91c24);                             /* fstp dword [esp] */
        emit(0xd90424);                             /* fld dword [esp] */
    } else {
        emit(0xdd1c24);
        emit(0xdd0424);
    }
    emit(0x83c408);
}

void drop_value(struct type *type)
{
    if (is_float(type))
        emit(0xddd8);                               /* fstp st(0) */
}

void gen_conversion(struct node *node)
{
    gen(node->node_left);
    struct type *from = node->node_left->node_type;
    struct type *to = node->node_type;
    if (to->type_kind == TYPE_VOID)
        drop_value(from);
    else if (is_float(from) && is_float(to)) {
        if (to->type_kind < from->type_kind)
            round_st0(to);
    } else if (is_float(from))
        float_to_integer(to);
    else if (is_float(to)) {
        integer_to_float(from);
        if (to->type_kind == TYPE_FLOAT || (to->type_kind == TYPE_DOUBLE && is_64(from)))
            round_st0(to);
    } else if (is_64(to) && !is_64(from))
        emit(from->type_unsigned ? 0x31d2 : 0x99);  /* xor edx, edx or cdq */
    else
        extend_eax(to);
}

/* Bit-fields: eax holds the unit's address when the unit is read. */

void gen_field(struct node *node)
{
    struct member *member = node->node_member;
    struct type *type = node->node_type;
    emit_load(type, node->node_left, gen_address(node->node_left));
    int shift = 32 - member->member_bits;
    emit(0xc1e000 | (shift - member->member_shift));          /* shl eax, n */
    emit((type->type_unsigned ? 0xc1e800 : 0xc1f800) | shift);    /* shr, sar eax, n */
}

/* Stores into a bit-field: reads its unit, puts the bits in, writes it back. The value of the assignment is the field. */
void gen_assign_field(struct node *node)
{
    struct member *member = node->node_left->node_member;
    struct type *type = node->node_type;
    struct node *address = node->node_left->node_left;
    int mask = member->member_bits == 32 ? -1 : (1 << member->member_bits) - 1;
    gen(node->node_right);
    emit(0x50);                                     /* push eax */
    gen(address);
    emit(0x89c1);                                   /* mov ecx, eax */
    emit(0x8b1424);                                 /* mov edx, [esp] */
    emit_word(0x81e2, mask);                        /* and edx, n */
    emit(0xc1e200 | member->member_shift);          /* shl edx, n */
    emit_load(type, int_constant(0), 0);            /* from [eax] */
    emit_word(0x25, ~(mask << member->member_shift));         /* and eax, n */
    emit(0x09d0);                                   /* or eax, edx */
    emit_store(type, in_ecx);
    emit(0x58);                                     /* pop eax */
    int shift = 32 - member->member_bits;
    emit(0xc1e000 | shift);                         /* shl eax, n */
    emit((type->type_unsigned ? 0xc1e800 : 0xc1f800) | shift);
}

/* Copies a struct from [eax] to [edx]; eax is the destination afterwards. */
void emit_copy(int size)
{
    emit(0x89c6);                                   /* mov esi, eax */
    emit(0x89d7);                                   /* mov edi, edx */
    emit(0x89d0);                                   /* mov eax, edx */
    if (size / 4) {
        emit_word(0xb9, size / 4);                  /* mov ecx, n */
        emit(0xf3a5);                               /* rep movsd */
    }
    if (size & 3) {
        emit_word(0xb9, size & 3);
        emit(0xf3a4);                               /* rep movsb */
    }
}

void gen_assign(struct node *node)
{
    struct type *type = node->node_type;
    struct node *address = node->node_left->node_left;
    if (node->node_left->node_kind == NODE_FIELD)
        gen_assign_field(node);
    else if (type->type_kind == TYPE_STRUCT) {
        gen(address);
        emit(0x50);                                 /* push eax */
        gen(node->node_right);
        emit(0x5a);                                 /* pop edx */
        emit_copy(size_of(type));
    } else if (is_address(address)) {
        gen(node->node_right);
        emit_store(type, address);
    } else {
        gen(address);
        emit(0x50);
        gen(node->node_right);
        emit(0x59);                                 /* pop ecx */
        emit_store(type, address);
    }
}

/* Calls: arguments lie on the stack, the first one lowest; the caller frees them. */

int gen_arguments(struct node *argument)
{
    if (!argument)
        return 0;
    int size = gen_arguments(argument->node_next);
    struct type *type = argument->node_type;
    argument = argument->node_left;
    if (is_constant(argument) && !is_64(type)) {
        emit_word(0x68, argument->node_low);        /* push n */
        return size + 4;
    }
    gen(argument);
    if (type->type_kind == TYPE_STRUCT) {
        emit_word(0x81ec, round_up(size_of(type), 4));        /* sub esp, n */
        emit(0x89e2);                               /* mov edx, esp */
        emit_copy(size_of(type));
        return size + round_up(size_of(type), 4);
    }
    if (type->type_kind == TYPE_DOUBLE) {
        emit(0x83ec08);                             /* sub esp, 8 */
        emit(0xdd1c24);                             /* fstp qword [esp] */
    } else if (type->type_kind == TYPE_FLOAT) {
        emit(0x83ec04);
        emit(0xd91c24);
    } else
        push_value(type);
    return size + round_up(size_of(type), 4);
}

void gen_call(struct node *node)
{
    int size = gen_arguments(node->node_right);
    if (node->node_third) {
        load_address(0, node->node_third);
        emit(0x50);                                 /* push eax: where the result goes */
        size += 4;
    }
    if (node->node_left->node_kind == NODE_GLOBAL)
        emit_symbol(0xe8, node->node_left->node_symbol, node->node_left->node_low - 4, REFERENCE_RELATIVE);
    else {
        gen(node->node_left);
        emit(0xffd0);                               /* call eax */
    }
    if (size)
        emit_word(0x81c4, size);                    /* add esp, n */
}

void gen_float_constant(struct node *node)
{
    struct symbol *symbol = new_global(0, type_ldouble);
    symbol->symbol_section = SECTION_CONSTANTS;
    int place = round_up(constants_section->buffer_used, 4);
    symbol->symbol_value = place;
    extend(constants_section, place + 12);
    set_word(constants_section, place, node->node_low);
    set_word(constants_section, place + 4, node->node_high);
    set_word(constants_section, place + 8, node->node_exponent);
    emit_symbol(0xdb2d, symbol, 0, REFERENCE_ABSOLUTE);       /* fld tbyte [n] */
}

void gen_conditional(struct node *node)
{
    int otherwise = new_label();
    int end = new_label();
    gen_branch(node->node_left, otherwise, NO);
    gen(node->node_right);
    emit_jump(JUMP, end);
    put_label(otherwise);
    gen(node->node_third);
    put_label(end);
}

/* The value 1 or 0 of && and || */
void gen_logical(struct node *node)
{
    int otherwise = new_label();
    int end = new_label();
    gen_branch(node, otherwise, NO);
    emit_word(0xb8, 1);                             /* mov eax, 1 */
    emit_jump(JUMP, end);
    put_label(otherwise);
    emit(0x31c0);                                   /* xor eax, eax */
    put_label(end);
}

void gen_unary(struct node *node)
{
    gen(node->node_left);
    struct type *type = node->node_type;
    if (is_float(type))
        emit(0xd9e0);                               /* fchs */
    else if (node->node_kind == NODE_COMPLEMENT) {
        emit(0xf7d0);                               /* not eax */
        if (is_64(type))
            emit(0xf7d2);                           /* not edx */
    } else {
        emit(0xf7d8);                               /* neg eax */
        if (is_64(type)) {
            emit(0x83d200);                         /* adc edx, 0 */
            emit(0xf7da);                           /* neg edx */
        }
    }
}

void gen(struct node *node)
{
    struct type *type = node->node_type;
    switch (node->node_kind) {
    case NODE_CONSTANT:
        emit_word(0xb8, node->node_low);            /* mov eax, n */
        if (is_64(type))
            emit_word(0xba, node->node_high);       /* mov edx, n */
        return;
    case NODE_FLOAT: gen_float_constant(node); return;
    case NODE_LOCAL:
    case NODE_GLOBAL: load_address(0, node); return;
    case NODE_INDIRECT:
        if (is_scalar(type))
            emit_load(type, node->node_left, gen_address(node->node_left));
        else
            gen(node->node_left);
        return;
    case NODE_FIELD: gen_field(node); return;
    case NODE_ASSIGN: gen_assign(node); return;
    case NODE_CONVERT: gen_conversion(node); return;
    case NODE_CALL: gen_call(node); return;
    case NODE_COMMA:
        gen(node->node_left);
        drop_value(node->node_left->node_type);
        gen(node->node_right);
        return;
    case NODE_CONDITIONAL: gen_conditional(node); return;
    case NODE_AND_AND:
    case NODE_OR_OR: gen_logical(node); return;
    case NODE_NEGATE:
    case NODE_COMPLEMENT: gen_unary(node); return;
    }
    if (node->node_kind >= NODE_EQUAL) {
        int condition = gen_comparison(node);
        emit(0x0f90c0 | condition << 8);            /* setcc al */
        emit(0x0fb6c0);                             /* movzx eax, al */
    } else if (is_float(type))
        gen_operation_float(node);
    else if (is_64(type))
        gen_operation64(node);
    else
        gen_operation(node);
}
