/* Initialisers: first read as a list of scalars (and strings) with their places, then written into the section of data or
   turned into assignments. */

struct element {
    int element_offset;
    struct type *element_type;
    struct member *element_member;    /* a bit-field, or 0 */
    struct node *element_value;
    struct element *element_next;
};

struct element *elements;
struct element *last_element;

/* A value that was read before it was known whether it is a whole struct or its first member */
struct node *pending;

void add_element(int offset, struct type *type, struct member *member, struct node *value)
{
    struct element *element;

    element = (struct element *)allocate(sizeof(struct element));
    element->element_offset = offset;
    element->element_type = type;
    element->element_member = member;
    element->element_value = value;
    if (last_element)
        last_element->element_next = element;
    else
        elements = element;
    last_element = element;
}

int initialise(struct type *type, int offset, struct member *member);

void refuse_designators(void)
{
    if (kind == '.' || kind == '[')
        fail("designated initialisers are not implemented");
}

/* Whether the list goes on behind an element. An inner list without braces leaves a last comma to the outer one. */
int next_element(int braced)
{
    if (kind != ',')
        return NO;
    if (peek() == '}') {
        if (braced)
            advance();
        return NO;
    }
    return YES;
}

/* The elements of an array; how many there were is the result. */
int initialise_array(struct type *type, int offset, int braced)
{
    int size = size_of(type->type_base);
    int count = 0;
    if (type->type_count == 0)
        fail("an array of no elements cannot be initialised");
    for (;;) {
        refuse_designators();
        initialise(type->type_base, offset + count * size, 0);
        count++;
        if (count == type->type_count) {
            if (braced && kind == ',')
                advance();
            return count;
        }
        if (!next_element(braced))
            return count;
        advance();
    }
}

void initialise_members(struct record *record, int offset, int braced)
{
    struct member *member = record->record_members;
    for (;;) {
        while (member && !member->member_name && member->member_is_field)
            member = member->member_next;
        if (!member)
            fail("a struct without members cannot be initialised");
        refuse_designators();
        initialise(member->member_type, offset + member->member_offset, member);
        member = record->record_is_union ? 0 : member->member_next;
        while (member && !member->member_name && member->member_is_field)
            member = member->member_next;
        if (!member) {
            if (braced && kind == ',')
                advance();
            return;
        }
        if (!next_element(braced))
            return;
        advance();
    }
}

/* An array of characters from a string. The result is how many characters it has, with the last zero. */
int initialise_string(struct type *type, int offset)
{
    struct node *string = string_literal();
    int count = string->node_type->type_count;
    struct type *taken = string->node_type;
    if (type->type_count >= 0 && count > type->type_count) {
        if (count - 1 > type->type_count)
            fail("string longer than the array");
        taken = array_of(type_char, type->type_count);
    }
    add_element(offset, taken, 0, string);
    return count;
}

/* One object; the result is the number of elements if it is an array. */
int initialise(struct type *type, int offset, struct member *member)
{
    nest();
    int count = 0;
    int braced = !pending && kind == '{';
    if (type->type_kind == TYPE_ARRAY && type->type_base->type_kind == TYPE_CHAR && !pending
        && (kind == TOKEN_STRING || (braced && peek() == TOKEN_STRING))) {
        if (braced)
            advance();
        count = initialise_string(type, offset);
        if (braced)
            accept(',');
    } else {
        if (braced)
            advance();
        if (type->type_kind == TYPE_ARRAY)
            count = initialise_array(type, offset, braced);
        else {
            struct node *value = pending;
            pending = 0;
            if (!value && !(type->type_kind == TYPE_STRUCT && braced))
                value = parse_assignment();
            if (type->type_kind == TYPE_STRUCT && (!value || value->node_type->type_kind != TYPE_STRUCT
                                                   || value->node_type->type_record != type->type_record)) {
                pending = value;
                initialise_members(type->type_record, offset, braced);
            } else {
                add_element(offset, type, member && member->member_is_field ? member : 0, assignable(value, type));
                if (braced)
                    accept(',');
            }
        }
    }
    if (braced)
        expect('}', "'}'");
    nesting--;
    return count;
}

/* Reads the initialiser of an object. The result is its type, with the number of elements that an array lacked. */
struct type *parse_initialiser(struct type *type)
{
    elements = 0;
    last_element = 0;
    if (type->type_kind == TYPE_ARRAY && kind != '{' && kind != TOKEN_STRING)
        expected("'{'");
    int count = initialise(type, 0, 0);
    if (type->type_kind == TYPE_ARRAY && type->type_count < 0)
        return array_of(type->type_base, count);
    return type;
}

/* Into the section of data */

void put_bits(int place, struct member *member, int value)
{
    int i;

    for (i = 0; i < member->member_bits; i++) {
        int at = member->member_shift + i;
        char *byte = data_section->buffer_bytes + place + at / 8;
        *byte = *byte | (value >> i & 1) << at % 8;
    }
}

void put_static_element(int place, struct element *element)
{
    struct node *value = element->element_value;
    int size = size_of(element->element_type);
    if (element->element_type->type_kind == TYPE_ARRAY)
        copy_bytes(data_section->buffer_bytes + place,
                   constants_section->buffer_bytes + value->node_left->node_symbol->symbol_value, size);
    else if (value->node_kind == NODE_GLOBAL && size == 4)
        put_reference(data_section, place, value->node_symbol, value->node_low, REFERENCE_ABSOLUTE);
    else if (value->node_kind == NODE_FLOAT) {
        take_float(value);
        pack_float(size);
        set_word(data_section, place, low_word);
        if (size > 4)
            set_word(data_section, place + 4, high_word);
        if (size > 8)
            set_word(data_section, place + 8, float_exponent);
    } else if (!is_constant(value))
        fail("initialiser not constant");
    else if (element->element_member)
        put_bits(place, element->element_member, value->node_low);
    else if (size >= 4) {
        set_word(data_section, place, value->node_low);
        if (size == 8)
            set_word(data_section, place + 4, value->node_high);
    } else {
        data_section->buffer_bytes[place] = value->node_low;
        if (size == 2)
            data_section->buffer_bytes[place + 1] = value->node_low >> 8;
    }
}

/* Gives the symbol room in the section of data and writes the elements there. */
void put_static(struct symbol *symbol)
{
    struct element *element;
    int place = round_up(data_section->buffer_used, 4);
    symbol->symbol_section = SECTION_DATA;
    symbol->symbol_value = place;
    extend(data_section, place + size_of(symbol->symbol_type));
    for (element = elements; element; element = element->element_next)
        put_static_element(place + element->element_offset, element);
}

/* Into the frame */

void gen_effect(struct node *node);

void put_local(struct type *type, int place)
{
    struct element *element;

    if (!is_scalar(type)) {
        emit(0x31c0);                               /* xor eax, eax */
        emit_word(0x8dbd, place);                   /* lea edi, [ebp+n] */
        emit_word(0xb9, (size_of(type) + 3) / 4);   /* mov ecx, n */
        emit(0xf3ab);                               /* rep stosd */
    }
    for (element = elements; element; element = element->element_next) {
        struct node *object = object_at(local_address(element->element_type, place + element->element_offset));
        if (element->element_type->type_kind == TYPE_ARRAY) {
            gen(element->element_value->node_left);
            load_address(2, object->node_left);     /* lea edx, [ebp+n] */
            emit_copy(size_of(element->element_type));
            continue;
        }
        if (element->element_member) {
            object->node_kind = NODE_FIELD;
            object->node_member = element->element_member;
        }
        gen_effect(assign(object, element->element_value));
    }
}
