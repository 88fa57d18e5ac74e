/* Types, symbols and scopes. */

/* The order of the integer types is that of their rank. long is int: both have 32 bits. */
enum {
    TYPE_VOID, TYPE_BOOL, TYPE_CHAR, TYPE_SHORT, TYPE_INT, TYPE_LLONG, TYPE_FLOAT, TYPE_DOUBLE, TYPE_LDOUBLE,
    TYPE_POINTER, TYPE_ARRAY, TYPE_FUNCTION, TYPE_STRUCT
};

struct type {
    int type_kind;
    int type_unsigned;
    struct type *type_base;        /* what is pointed to, an array's element, a function's result */
    int type_count;                /* an array's elements, or -1 */
    struct member *type_parameters;
    int type_unprototyped;         /* a function declared with () */
    int type_variadic;
    struct record *type_record;    /* of a struct or union */
};

/* A struct or union: the same for all types made from one definition */
struct record {
    int record_is_union;
    int record_complete;
    int record_size;
    int record_align;
    struct name *record_tag;
    struct member *record_members;
};

/* A member of a struct or union, or a parameter of a function */
struct member {
    struct name *member_name;      /* 0 for an unnamed one */
    struct type *member_type;
    int member_offset;
    int member_is_field;           /* a bit-field: */
    int member_bits;               /* its width */
    int member_shift;              /* its lowest bit */
    struct member *member_next;
};

struct type *type_void;
struct type *type_bool;
struct type *type_char;
struct type *type_schar;
struct type *type_uchar;
struct type *type_short;
struct type *type_ushort;
struct type *type_int;
struct type *type_uint;
struct type *type_llong;
struct type *type_ullong;
struct type *type_float;
struct type *type_double;
struct type *type_ldouble;

struct type *new_type(int kind, int is_unsigned)
{
    struct type *type;

    type = (struct type *)allocate(sizeof(struct type));
    type->type_kind = kind;
    type->type_unsigned = is_unsigned;
    return type;
}

void make_types(void)
{
    type_void = new_type(TYPE_VOID, NO);
    type_bool = new_type(TYPE_BOOL, YES);
    type_char = new_type(TYPE_CHAR, NO);
    type_schar = new_type(TYPE_CHAR, NO);
    type_uchar = new_type(TYPE_CHAR, YES);
    type_short = new_type(TYPE_SHORT, NO);
    type_ushort = new_type(TYPE_SHORT, YES);
    type_int = new_type(TYPE_INT, NO);
    type_uint = new_type(TYPE_INT, YES);
    type_llong = new_type(TYPE_LLONG, NO);
    type_ullong = new_type(TYPE_LLONG, YES);
    type_float = new_type(TYPE_FLOAT, NO);
    type_double = new_type(TYPE_DOUBLE, NO);
    type_ldouble = new_type(TYPE_LDOUBLE, NO);
}

struct type *pointer_to(struct type *base)
{
    struct type *type = new_type(TYPE_POINTER, YES);
    type->type_base = base;
    return type;
}

struct type *array_of(struct type *base, int count)
{
    struct type *type = new_type(TYPE_ARRAY, NO);
    type->type_base = base;
    type->type_count = count;
    return type;
}

int is_integer(struct type *type)
{
    return type->type_kind >= TYPE_BOOL && type->type_kind <= TYPE_LLONG;
}

int is_float(struct type *type)
{
    return type->type_kind >= TYPE_FLOAT && type->type_kind <= TYPE_LDOUBLE;
}

int is_arithmetic(struct type *type)
{
    return type->type_kind >= TYPE_BOOL && type->type_kind <= TYPE_LDOUBLE;
}

int is_pointer(struct type *type)
{
    return type->type_kind == TYPE_POINTER;
}

int is_scalar(struct type *type)
{
    return type->type_kind >= TYPE_BOOL && type->type_kind <= TYPE_POINTER;
}

int is_64(struct type *type)
{
    return type->type_kind == TYPE_LLONG;
}

/* Objects of this type can be made. */
int is_complete(struct type *type)
{
    if (type->type_kind == TYPE_ARRAY)
        return type->type_count >= 0 && is_complete(type->type_base);
    if (type->type_kind == TYPE_STRUCT)
        return type->type_record->record_complete;
    return type->type_kind != TYPE_VOID && type->type_kind != TYPE_FUNCTION;
}

int size_of(struct type *type)
{
    int size;

    switch (type->type_kind) {
    case TYPE_BOOL:
    case TYPE_CHAR:
        return 1;
    case TYPE_SHORT:
        return 2;
    case TYPE_LLONG:
    case TYPE_DOUBLE:
        return 8;
    case TYPE_LDOUBLE:
        return 12;
    case TYPE_ARRAY:
        if (!is_complete(type))
            fail("the size of this array is not known");
        size = size_of(type->type_base);
        if (size && type->type_count > 1000000000 / size)
            fail("array too large");
        return size * type->type_count;
    case TYPE_STRUCT:
        if (!is_complete(type))
            fail("this struct or union is not defined");
        return type->type_record->record_size;
    case TYPE_VOID:
        fail("void has no size");
    case TYPE_FUNCTION:
        fail("a function has no size");
    }
    return 4;
}

int align_of(struct type *type)
{
    if (type->type_kind == TYPE_ARRAY)
        return align_of(type->type_base);
    if (type->type_kind == TYPE_STRUCT)
        return type->type_record->record_align;
    int size = size_of(type);
    return size > 4 ? 4 : size;
}

int round_up(int value, int align)
{
    return (value + align - 1) & -align;
}

int compatible(struct type *a, struct type *b);

int compatible_parameters(struct type *a, struct type *b)
{
    struct member *p;

    if (a->type_unprototyped || b->type_unprototyped)
        return YES;
    struct member *q = b->type_parameters;
    for (p = a->type_parameters; p; p = p->member_next) {
        if (!q || !compatible(p->member_type, q->member_type))
            return NO;
        q = q->member_next;
    }
    return !q && a->type_variadic == b->type_variadic;
}

int compatible(struct type *a, struct type *b)
{
    if (a == b)
        return YES;
    if (a->type_kind != b->type_kind || a->type_unsigned != b->type_unsigned)
        return NO;
    switch (a->type_kind) {
    case TYPE_POINTER:
        return compatible(a->type_base, b->type_base);
    case TYPE_ARRAY:
        return compatible(a->type_base, b->type_base)
            && (a->type_count == b->type_count || a->type_count < 0 || b->type_count < 0);
    case TYPE_FUNCTION:
        return compatible(a->type_base, b->type_base) && compatible_parameters(a, b);
    case TYPE_STRUCT:
        return a->type_record == b->type_record;
    }
    return YES;
}

/* Lays the members of a struct or union out as the System V ABI for i386 says. */
void lay_out(struct record *record)
{
    struct member *member;
    int bits;       /* used so far */
    int size;
    int align;

    bits = 0;
    record->record_align = 1;
    record->record_size = 0;
    for (member = record->record_members; member; member = member->member_next) {
        size = size_of(member->member_type);
        if (size > 0x8000000)
            fail("struct too large");
        size = size * 8;
        align = align_of(member->member_type);
        if (record->record_is_union)
            bits = 0;
        if (!member->member_is_field) {
            bits = round_up(bits, align * 8);
            member->member_offset = bits / 8;
            bits += size;
        } else if (member->member_bits == 0)
            bits = round_up(bits, size);
        else {
            if (bits / size != (bits + member->member_bits - 1) / size)
                bits = round_up(bits, size);
            member->member_offset = bits / size * (size / 8);
            member->member_shift = bits % size;
            bits += member->member_bits;
        }
        if (bits < 0)
            fail("struct too large");
        if (align > record->record_align && (member->member_name || !member->member_is_field))
            record->record_align = align;
        if ((bits + 7) / 8 > record->record_size)
            record->record_size = (bits + 7) / 8;
    }
    record->record_size = round_up(record->record_size, record->record_align);
    record->record_complete = YES;
}

/* Symbols: what a name can mean other than a tag, a label or a member */

enum { SYMBOL_TYPEDEF, SYMBOL_CONSTANT, SYMBOL_LOCAL, SYMBOL_GLOBAL };

/* Where the object or function of a SYMBOL_GLOBAL lies */
enum { SECTION_UNDEFINED, SECTION_TENTATIVE, SECTION_TEXT, SECTION_CONSTANTS, SECTION_DATA, SECTION_BSS };

struct symbol {
    struct name *symbol_name;
    int symbol_kind;
    struct type *symbol_type;
    int symbol_value;              /* of a constant; else the place in its section or in the frame */
    int symbol_section;
    int symbol_static;             /* not known to other files */
    int symbol_used;
    struct symbol *symbol_next;    /* in the list of all globals */
};

struct symbol *globals;

/* What a name meant outside of a scope, to be restored at its end */
struct undo {
    struct name *undo_name;
    struct symbol *undo_symbol;
    int undo_symbol_depth;
    struct type *undo_tag;
    int undo_tag_depth;
    struct undo *undo_next;
};

struct scope {
    struct undo *scope_undo;
    struct scope *scope_outer;
};

struct scope *scope;
int scope_depth;

void enter_scope(void)
{
    struct scope *inner = (struct scope *)allocate(sizeof(struct scope));
    inner->scope_outer = scope;
    scope = inner;
    scope_depth++;
}

void leave_scope(void)
{
    struct undo *undo;

    for (undo = scope->scope_undo; undo; undo = undo->undo_next) {
        undo->undo_name->name_symbol = undo->undo_symbol;
        undo->undo_name->name_symbol_depth = undo->undo_symbol_depth;
        undo->undo_name->name_tag = undo->undo_tag;
        undo->undo_name->name_tag_depth = undo->undo_tag_depth;
    }
    scope = scope->scope_outer;
    scope_depth--;
}

void remember(struct name *name)
{
    struct undo *undo;

    undo = (struct undo *)allocate(sizeof(struct undo));
    undo->undo_name = name;
    undo->undo_symbol = name->name_symbol;
    undo->undo_symbol_depth = name->name_symbol_depth;
    undo->undo_tag = name->name_tag;
    undo->undo_tag_depth = name->name_tag_depth;
    undo->undo_next = scope->scope_undo;
    scope->scope_undo = undo;
}

void bind_symbol(struct name *name, struct symbol *symbol)
{
    remember(name);
    name->name_symbol = symbol;
    name->name_symbol_depth = scope_depth;
}

void bind_tag(struct name *name, struct type *type)
{
    remember(name);
    name->name_tag = type;
    name->name_tag_depth = scope_depth;
}

/* The name's meaning if it was given in the current scope */
struct symbol *symbol_here(struct name *name)
{
    if (name->name_symbol && name->name_symbol_depth == scope_depth)
        return name->name_symbol;
    return 0;
}

struct type *tag_here(struct name *name)
{
    if (name->name_tag && name->name_tag_depth == scope_depth)
        return name->name_tag;
    return 0;
}

struct symbol *new_symbol(struct name *name, int kind, struct type *type)
{
    struct symbol *symbol;

    symbol = (struct symbol *)allocate(sizeof(struct symbol));
    symbol->symbol_name = name;
    symbol->symbol_kind = kind;
    symbol->symbol_type = type;
    return symbol;
}

/* A symbol with an address, entered in the list of globals */
struct symbol *new_global(struct name *name, struct type *type)
{
    struct symbol *symbol = new_symbol(name, SYMBOL_GLOBAL, type);
    symbol->symbol_next = globals;
    globals = symbol;
    return symbol;
}

struct symbol *declare(struct name *name, int kind, struct type *type)
{
    if (symbol_here(name))
        fail_name("declared twice in one scope: ", name, "");
    struct symbol *symbol = new_symbol(name, kind, type);
    bind_symbol(name, symbol);
    return symbol;
}
