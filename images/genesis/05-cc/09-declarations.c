/* Declarations: specifiers, declarators, structs, enums, and what becomes of them. */

int starts_type(int first, struct token *first_token)
{
    if (first != TOKEN_NAME)
        return first >= KEYWORD_AUTO;
    struct symbol *symbol = first_token->token_name->name_symbol;
    return symbol && symbol->symbol_kind == SYMBOL_TYPEDEF;
}

int name_is(struct name *name, char *text)
{
    return name->name_length == length_of(text) && equal_bytes(name->name_text, text, name->name_length);
}

/* Attributes that do not change what a program means are passed; others are refused. */
void parse_attributes(void)
{
    while (kind == KEYWORD_ATTRIBUTE) {
        advance();
        expect('(', "'('");
        expect('(', "'('");
        while (kind != ')') {
            if (kind != TOKEN_NAME)
                expected("an attribute");
            struct name *name = token->token_name;
            if (!name_is(name, "noreturn") && !name_is(name, "format") && !name_is(name, "unused"))
                fail_name("attribute not implemented: ", name, "");
            advance();
            int depth = 0;
            while (depth > 0 || kind == '(') {
                if (kind == '(')
                    depth++;
                if (kind == ')')
                    depth--;
                if (kind == TOKEN_END)
                    expected("')'");
                advance();
            }
            if (kind != ')')
                expect(',', "',' or ')'");
        }
        advance();
        expect(')', "')'");
    }
}

struct type *parse_specifiers(void);
struct type *parse_declarator(struct type *type);

/* What the last declarator declared, or 0 */
struct name *declared_name;

/* The storage class of the last specifiers, or 0 */
int storage;

/* Structs and unions */

enum { MEMBER_LIMIT = 10000 };

void add_member(struct record *record, struct member *member)
{
    struct member *other;

    if (!record->record_members)
        record->record_members = member;
    int count = 0;
    for (other = record->record_members; other != member; other = other->member_next) {
        if (other->member_name && other->member_name == member->member_name)
            fail_name("member declared twice: ", member->member_name, "");
        if (++count == MEMBER_LIMIT)
            fail("too many members");
        if (!other->member_next)
            other->member_next = member;
    }
}

void parse_bit_field(struct member *member)
{
    advance();
    if (!is_integer(member->member_type))
        fail("a bit-field must be an integer");
    if (is_64(member->member_type))
        fail("bit-fields of 64-bit types are not implemented");
    member->member_is_field = YES;
    member->member_bits = parse_int_constant();
    if (member->member_bits < 0 || member->member_bits > size_of(member->member_type) * 8
        || (member->member_type->type_kind == TYPE_BOOL && member->member_bits > 1))
        fail("the width of this bit-field does not fit its type");
    if (member->member_bits == 0 && member->member_name)
        fail("a bit-field of no bits cannot have a name");
}

void parse_members(struct record *record)
{
    struct member *member;

    while (kind != '}') {
        if (!starts_type(kind, token))
            expected("a member's type");
        struct type *type = parse_specifiers();
        if (storage)
            fail("a member has no storage class");
        if (kind == ';' && type->type_kind != TYPE_STRUCT)
            expected("a member's name");
        do {
            member = (struct member *)allocate(sizeof(struct member));
            declared_name = 0;
            member->member_type = kind == ';' || kind == ':' ? type : parse_declarator(type);
            member->member_name = declared_name;
            if (kind == ':')
                parse_bit_field(member);
            if (member->member_type->type_kind == TYPE_ARRAY && member->member_type->type_count < 0 && kind == ';'
                && peek() == '}')
                member->member_type = array_of(member->member_type->type_base, 0);
            if (!is_complete(member->member_type))
                fail("the type of this member is not complete");
            if (member->member_name || member->member_is_field || member->member_type->type_kind == TYPE_STRUCT)
                add_member(record, member);
            parse_attributes();
        } while (accept(','));
        expect(';', "';'");
    }
}

struct type *parse_record(void)
{
    int is_union = kind == KEYWORD_UNION;
    advance();
    parse_attributes();
    struct name *tag = 0;
    struct type *type = 0;
    if (kind == TOKEN_NAME) {
        tag = token->token_name;
        advance();
        type = kind == '{' || kind == ';' ? tag_here(tag) : tag->name_tag;
    } else if (kind != '{')
        expected("a tag or '{'");
    if (type && (type->type_kind != TYPE_STRUCT || type->type_record->record_is_union != is_union))
        fail_name("tag of another kind: ", tag, "");
    if (!type) {
        type = new_type(TYPE_STRUCT, NO);
        type->type_record = (struct record *)allocate(sizeof(struct record));
        type->type_record->record_is_union = is_union;
        type->type_record->record_tag = tag;
        if (tag)
            bind_tag(tag, type);
    }
    if (kind == '{') {
        if (type->type_record->record_members)
            fail_name("struct or union defined twice: ", tag, "");
        nest();
        advance();
        parse_members(type->type_record);
        lay_out(type->type_record);
        advance();
        nesting--;
    }
    return type;
}

/* An enum's type is unsigned int, or int if it has a negative constant; its constants are int. */
struct type *parse_enum(void)
{
    advance();
    struct name *tag = 0;
    if (kind == TOKEN_NAME) {
        tag = token->token_name;
        advance();
        if (kind != '{') {
            if (!tag->name_tag)
                fail_name("enum not defined: ", tag, "");
            if (tag->name_tag->type_kind == TYPE_STRUCT)
                fail_name("tag of another kind: ", tag, "");
            return tag->name_tag;
        }
        if (tag_here(tag))
            fail_name("tag defined twice: ", tag, "");
    }
    expect('{', "'{'");
    struct type *type = type_uint;
    int value = 0;
    do {
        if (kind == '}')
            break;
        if (kind != TOKEN_NAME)
            expected("a constant's name");
        struct name *name = token->token_name;
        advance();
        if (accept('=')) {
            struct node *given = parse_constant();
            value = given->node_low;
            if (given->node_high != value >> 31)
                fail_name("value too large for an int: ", name, "");
        }
        if (value < 0)
            type = type_int;
        declare(name, SYMBOL_CONSTANT, type_int)->symbol_value = value;
        value++;
    } while (accept(','));
    expect('}', "'}' or ','");
    if (tag)
        bind_tag(tag, type);
    return type;
}

/* Specifiers */

/* The arithmetic type that `unsigned`, `short`, `long` and so on make together */
struct type *basic_type(int base, int sign, int shorts, int longs)
{
    int is_unsigned = sign == KEYWORD_UNSIGNED;
    if (longs > 2 || shorts > 1 || (longs && shorts) || ((longs || shorts) && base && base != KEYWORD_INT
                                                         && !(base == KEYWORD_DOUBLE && longs == 1))
        || (sign && base && base != KEYWORD_INT && base != KEYWORD_CHAR))
        fail("these type specifiers do not go together");
    switch (base) {
    case KEYWORD_VOID: return type_void;
    case KEYWORD_BOOL: return type_bool;
    case KEYWORD_FLOAT: return type_float;
    case KEYWORD_DOUBLE: return longs ? type_ldouble : type_double;
    case KEYWORD_CHAR: return is_unsigned ? type_uchar : sign ? type_schar : type_char;
    }
    if (shorts)
        return is_unsigned ? type_ushort : type_short;
    if (longs == 2)
        return is_unsigned ? type_ullong : type_llong;
    return is_unsigned ? type_uint : type_int;
}

struct type *parse_specifiers(void)
{
    struct type *type = 0;
    int found_storage = 0;
    int base = 0;
    int sign = 0;
    int shorts = 0;
    int longs = 0;
    for (;;) {
        if (kind == TOKEN_NAME && !type && !base && !sign && !shorts && !longs && starts_type(kind, token)) {
            type = token->token_name->name_symbol->symbol_type;
            advance();
            continue;
        }
        switch (kind) {
        case KEYWORD_TYPEDEF: case KEYWORD_EXTERN: case KEYWORD_STATIC: case KEYWORD_AUTO: case KEYWORD_REGISTER:
            if (found_storage)
                fail("two storage classes in one declaration");
            found_storage = kind;
            break;
        case KEYWORD_CONST: case KEYWORD_VOLATILE: case KEYWORD_RESTRICT: case KEYWORD_INLINE:
            break;
        case KEYWORD_ATTRIBUTE:
            parse_attributes();
            continue;
        case KEYWORD_SIGNED: case KEYWORD_UNSIGNED:
            if (sign)
                fail("these type specifiers do not go together");
            sign = kind;
            break;
        case KEYWORD_SHORT: shorts++; break;
        case KEYWORD_LONG: longs++; break;
        case KEYWORD_VOID: case KEYWORD_BOOL: case KEYWORD_CHAR: case KEYWORD_INT: case KEYWORD_FLOAT: case KEYWORD_DOUBLE:
            if (base)
                fail("these type specifiers do not go together");
            base = kind;
            break;
        case KEYWORD_STRUCT: case KEYWORD_UNION: case KEYWORD_ENUM:
            if (type)
                fail("these type specifiers do not go together");
            type = kind == KEYWORD_ENUM ? parse_enum() : parse_record();
            continue;
        default:
            storage = found_storage;
            if (type && (base || sign || shorts || longs))
                fail("these type specifiers do not go together");
            if (type)
                return type;
            if (!base && !sign && !shorts && !longs)
                expected("a type");
            return basic_type(base, sign, shorts, longs);
        }
        advance();
    }
}

/* Declarators */

/* A parameter of array or function type is a pointer. */
struct type *parameter_type(struct type *type)
{
    if (type->type_kind == TYPE_ARRAY)
        return pointer_to(type->type_base);
    if (type->type_kind == TYPE_FUNCTION)
        return pointer_to(type);
    return type;
}

/* The parameters of a function that returns `result`, behind '(' */
struct type *parse_parameters(struct type *result)
{
    if (result->type_kind == TYPE_ARRAY || result->type_kind == TYPE_FUNCTION)
        fail("a function cannot return this type");
    struct type *function = new_type(TYPE_FUNCTION, NO);
    function->type_base = result;
    if (accept(')')) {
        function->type_unprototyped = YES;
        return function;
    }
    if (kind == KEYWORD_VOID && peek() == ')') {
        advance();
        advance();
        return function;
    }
    struct name *name = declared_name;
    struct member *last = 0;
    do {
        if (last && kind == ELLIPSIS) {
            function->type_variadic = YES;
            advance();
            break;
        }
        if (!starts_type(kind, token))
            expected("a parameter's type");
        struct type *type = parse_specifiers();
        if (storage && storage != KEYWORD_REGISTER)
            fail("a parameter has no storage class");
        declared_name = 0;
        type = parameter_type(parse_declarator(type));
        if (type->type_kind == TYPE_VOID)
            fail("a parameter cannot be void");
        parse_attributes();
        struct member *parameter = (struct member *)allocate(sizeof(struct member));
        parameter->member_name = declared_name;
        parameter->member_type = type;
        if (last)
            last->member_next = parameter;
        else
            function->type_parameters = parameter;
        last = parameter;
    } while (accept(','));
    expect(')', "')' or ','");
    declared_name = name;
    return function;
}

struct type *parse_suffixes(struct type *type)
{
    if (kind == '(') {
        advance();
        return parse_parameters(type);
    }
    if (kind != '[')
        return type;
    nest();
    advance();
    int count = -1;
    if (kind != ']') {
        count = parse_int_constant();
        if (count < 0)
            fail("an array cannot have a negative size");
    }
    expect(']', "']'");
    type = parse_suffixes(type);
    if (type->type_kind && !is_complete(type))
        fail("the type of an array's elements is not complete");
    nesting--;
    return array_of(type, count);
}

/* What a function returns or an array consists of may become known only outside of parentheses. */
void check_results(struct type *type, struct type *outer)
{
    for (; type != outer; type = type->type_base)
        if (type->type_base == outer && type->type_kind == TYPE_FUNCTION
            && (outer->type_kind == TYPE_ARRAY || outer->type_kind == TYPE_FUNCTION))
            fail("a function cannot return this type");
        else if (type->type_base == outer && type->type_kind == TYPE_ARRAY && !is_complete(outer))
            fail("the type of an array's elements is not complete");
}

struct type *parse_declarator(struct type *type)
{
    struct type *inner;

    nest();
    while (kind == '*') {
        advance();
        type = pointer_to(type);
        while (kind == KEYWORD_CONST || kind == KEYWORD_VOLATILE || kind == KEYWORD_RESTRICT)
            advance();
    }
    parse_attributes();
    if (kind == '(' && peek() != ')' && !type_follows()) {
        advance();
        struct type *outer = new_type(TYPE_VOID, NO);
        inner = parse_declarator(outer);
        expect(')', "')'");
        copy_bytes((char *)outer, (char *)parse_suffixes(type), sizeof(struct type));
        check_results(inner, outer);
    } else {
        if (kind == TOKEN_NAME) {
            declared_name = token->token_name;
            advance();
        }
        inner = parse_suffixes(type);
    }
    nesting--;
    return inner;
}

struct type *parse_type_name(void)
{
    struct type *type = parse_specifiers();
    if (storage)
        fail("a type's name has no storage class");
    declared_name = 0;
    type = parse_declarator(type);
    if (declared_name)
        fail_name("a type without a name expected, not ", declared_name, "");
    return type;
}

/* Objects and functions */

void define_typedef(struct name *name, struct type *type)
{
    struct symbol *symbol = symbol_here(name);
    if (symbol && symbol->symbol_kind == SYMBOL_TYPEDEF && compatible(symbol->symbol_type, type))
        return;
    declare(name, SYMBOL_TYPEDEF, type);
}

/* Declares what has linkage: functions, objects at file scope, extern objects. */
struct symbol *declare_linked(struct name *name, struct type *type)
{
    struct symbol *symbol = symbol_here(name);
    if (!symbol && scope_depth > 1 && name->name_symbol && name->name_symbol->symbol_kind == SYMBOL_GLOBAL)
        symbol = name->name_symbol;
    int is_known = symbol != 0;
    if (!symbol && storage != KEYWORD_STATIC)
        symbol = name->name_linked;
    if (!symbol) {
        symbol = new_global(name, type);
        if (storage == KEYWORD_STATIC)
            symbol->symbol_static = YES;
        else
            name->name_linked = symbol;
    } else if (symbol->symbol_type->type_kind == TYPE_VOID)
        symbol->symbol_type = type;
    else if (symbol->symbol_kind != SYMBOL_GLOBAL || symbol->symbol_type->type_kind != type->type_kind
             || (is_known && !compatible(symbol->symbol_type, type)))
        fail_name("declared differently before: ", name, "");
    else if (!is_known && is_complete(type) == is_complete(symbol->symbol_type))
        symbol->symbol_type = type;
    else if (storage == KEYWORD_STATIC && !symbol->symbol_static)
        fail_name("static, and was not so before: ", name, "");
    else if (!storage && symbol->symbol_static && type->type_kind != TYPE_FUNCTION)
        fail_name("not static, and was so before: ", name, "");
    if (is_complete(type) ? !is_complete(symbol->symbol_type) : symbol->symbol_type->type_unprototyped)
        symbol->symbol_type = type;
    if (!symbol_here(name))
        bind_symbol(name, symbol);
    return symbol;
}

void check_undefined(struct symbol *symbol)
{
    if (symbol->symbol_section > SECTION_TENTATIVE)
        fail_name("defined twice: ", symbol->symbol_name, "");
}

void define_static(struct symbol *symbol)
{
    if (kind == '=') {
        check_undefined(symbol);
        advance();
        symbol->symbol_type = parse_initialiser(symbol->symbol_type);
        if (!is_complete(symbol->symbol_type))
            fail_name("type not complete: ", symbol->symbol_name, "");
        put_static(symbol);
    } else if (symbol->symbol_section == SECTION_UNDEFINED)
        symbol->symbol_section = SECTION_TENTATIVE;
}

void define_local(struct name *name, struct type *type)
{
    struct symbol *symbol = declare(name, SYMBOL_LOCAL, type);
    if (kind != '=') {
        if (!is_complete(type))
            fail_name("type not complete: ", name, "");
        symbol->symbol_value = new_local(type);
        return;
    }
    advance();
    if (is_complete(type))
        symbol->symbol_value = new_local(type);
    symbol->symbol_type = parse_initialiser(type);
    if (!is_complete(type))
        symbol->symbol_value = new_local(symbol->symbol_type);
    put_local(symbol->symbol_type, symbol->symbol_value);
}

void define_function(struct symbol *symbol, struct type *type);

/* One declared name with its initialiser. The result tells whether it was a function with a body, which ends the declaration. */
int parse_declared(struct type *type, int may_have_body)
{
    struct symbol *symbol;
    struct name *name = declared_name;
    parse_attributes();
    if (storage == KEYWORD_TYPEDEF)
        define_typedef(name, type);
    else if (type->type_kind == TYPE_FUNCTION) {
        if (scope_depth > 1 && storage && storage != KEYWORD_EXTERN)
            fail("a function in a block can only be extern");
        symbol = declare_linked(name, type);
        if (kind == '{' && may_have_body) {
            check_undefined(symbol);
            define_function(symbol, type);
            return YES;
        }
    } else if (type->type_kind == TYPE_VOID)
        fail_name("an object cannot be void: ", name, "");
    else if (storage == KEYWORD_EXTERN || scope_depth == 1) {
        symbol = declare_linked(name, type);
        if (storage != KEYWORD_EXTERN || (kind == '=' && scope_depth == 1))
            define_static(symbol);
    } else if (storage == KEYWORD_STATIC) {
        symbol = new_global(name, type);
        symbol->symbol_static = YES;
        if (symbol_here(name))
            fail_name("declared twice in one scope: ", name, "");
        bind_symbol(name, symbol);
        define_static(symbol);
        if (!is_complete(symbol->symbol_type))
            fail_name("type not complete: ", name, "");
    } else
        define_local(name, type);
    return NO;
}

void parse_declaration(void)
{
    struct type *base = parse_specifiers();
    int declared_storage = storage;
    if (accept(';'))
        return;
    int is_first = YES;
    do {
        declared_name = 0;
        struct type *type = parse_declarator(base);
        if (!declared_name)
            expected("a name");
        storage = declared_storage;
        if (parse_declared(type, is_first && scope_depth == 1))
            return;
        is_first = NO;
    } while (accept(','));
    expect(';', is_first ? "';'" : "';' or ','");
}
