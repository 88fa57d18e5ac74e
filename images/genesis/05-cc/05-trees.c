/* Expressions as trees with types. The functions here check types, put in the conversions that C asks for, and compute
   what is constant, so that the code generator sees few kinds of nodes. */

/* An object is always NODE_INDIRECT (what lies at an address) or NODE_FIELD; NODE_LOCAL and NODE_GLOBAL are addresses.
   The value of an expression of struct type is its address. */
enum {
    NODE_CONSTANT,      /* low, high */
    NODE_FLOAT,         /* low, high, exponent */
    NODE_LOCAL,         /* address in the frame: low */
    NODE_GLOBAL,        /* address of a symbol, plus low */
    NODE_INDIRECT,      /* the object at address left */
    NODE_FIELD,         /* the bit-field `member` in the unit at address left */
    NODE_ASSIGN,        /* left = right */
    NODE_CONVERT,       /* left as the node's type */
    NODE_CALL,          /* function left, arguments right, third: where a struct result goes */
    NODE_ARGUMENT,      /* left, and the next argument */
    NODE_COMMA,
    NODE_CONDITIONAL,   /* left ? right : third */
    NODE_AND_AND, NODE_OR_OR,
    NODE_NEGATE, NODE_COMPLEMENT,
    NODE_ADD, NODE_SUBTRACT, NODE_MULTIPLY, NODE_DIVIDE, NODE_MODULO, NODE_AND, NODE_OR, NODE_XOR,
    NODE_SHIFT_LEFT, NODE_SHIFT_RIGHT,
    NODE_EQUAL, NODE_NOT_EQUAL, NODE_LESS, NODE_GREATER_EQUAL, NODE_GREATER, NODE_LESS_EQUAL
};

struct node {
    int node_kind;
    struct type *node_type;
    struct node *node_left;
    struct node *node_right;
    struct node *node_third;
    struct node *node_next;
    struct symbol *node_symbol;
    struct member *node_member;
    int node_low;
    int node_high;
    int node_exponent;
    int node_depth;
};

/* The code generator follows a tree by recursion. */
enum { TREE_DEPTH_LIMIT = 4000 };

struct node *new_node(int kind, struct type *type, struct node *left, struct node *right)
{
    struct node *node;

    node = (struct node *)allocate(sizeof(struct node));
    node->node_kind = kind;
    node->node_type = type;
    node->node_left = left;
    node->node_right = right;
    if (left)
        node->node_depth = left->node_depth + 1;
    if (right && right->node_depth >= node->node_depth)
        node->node_depth = right->node_depth + 1;
    if (node->node_depth > TREE_DEPTH_LIMIT)
        fail("expression too complex");
    return node;
}

/* An integer constant, cut to what its type holds; high is always the extension of low for types up to 32 bits. */
struct node *constant(struct type *type, int low, int high)
{
    struct node *node = new_node(NODE_CONSTANT, type, 0, 0);
    switch (type->type_kind) {
    case TYPE_BOOL:
        low = (low | high) != 0;
        break;
    case TYPE_CHAR:
        low = type->type_unsigned ? low & 255 : low << 24 >> 24;
        break;
    case TYPE_SHORT:
        low = type->type_unsigned ? low & 65535 : low << 16 >> 16;
        break;
    }
    if (!is_64(type))
        high = type->type_unsigned ? 0 : low >> 31;
    node->node_low = low;
    node->node_high = high;
    return node;
}

struct node *int_constant(int value)
{
    return constant(type_int, value, value >> 31);
}

/* A floating constant from the float words */
struct node *float_constant(struct type *type)
{
    struct node *node = new_node(NODE_FLOAT, type, 0, 0);
    node->node_low = float_low;
    node->node_high = float_high;
    node->node_exponent = float_exponent;
    return node;
}

/* The float words from a constant */
void take_float(struct node *node)
{
    float_low = node->node_low;
    float_high = node->node_high;
    float_exponent = node->node_exponent;
}

struct node *local_address(struct type *type, int place)
{
    struct node *node = new_node(NODE_LOCAL, pointer_to(type), 0, 0);
    node->node_low = place;
    return node;
}

struct node *global_address(struct symbol *symbol)
{
    struct node *node = new_node(NODE_GLOBAL, pointer_to(symbol->symbol_type), 0, 0);
    node->node_symbol = symbol;
    symbol->symbol_used = YES;
    return node;
}

int is_address(struct node *node)
{
    return node->node_kind == NODE_LOCAL || node->node_kind == NODE_GLOBAL;
}

int is_constant(struct node *node)
{
    return node->node_kind == NODE_CONSTANT;
}

int is_null(struct node *node)
{
    return is_constant(node) && !node->node_low && !node->node_high;
}

/* The object that an address points to */
struct node *object_at(struct node *address)
{
    return new_node(NODE_INDIRECT, address->node_type->type_base, address, 0);
}

struct node *address_of(struct node *node)
{
    if (node->node_kind == NODE_FIELD)
        fail("a bit-field has no address");
    if (node->node_kind != NODE_INDIRECT)
        fail("an object expected");
    return node->node_left;
}

/* A copy of a constant or an address with another type */
struct node *retyped(struct node *node, struct type *type)
{
    struct node *copy = new_node(0, 0, 0, 0);
    copy_bytes((char *)copy, (char *)node, sizeof(struct node));
    copy->node_type = type;
    return copy;
}

/* Arrays and functions become pointers. */
struct node *decayed(struct node *node)
{
    struct type *type = node->node_type;
    if (type->type_kind == TYPE_ARRAY) {
        node = address_of(node);
        if (is_address(node))
            return retyped(node, pointer_to(type->type_base));
        return new_node(NODE_CONVERT, pointer_to(type->type_base), node, 0);
    }
    if (type->type_kind == TYPE_FUNCTION)
        return address_of(node);
    return node;
}

struct node *binary(int kind, struct node *left, struct node *right);

/* The integer part of a floating constant; NO if it has more than 63 bits */
int truncate_float(struct node *node)
{
    int exponent = (node->node_exponent & 32767) - 16383;
    if (exponent > 62)
        return NO;
    if (exponent < 0)
        set64(0, 0);
    else
        shift_right64(node->node_low, node->node_high, 63 - exponent, YES);
    if (node->node_exponent & 32768)
        negate64(low_word, high_word);
    return YES;
}

struct node *convert(struct node *node, struct type *type)
{
    struct type *from = node->node_type;
    int kind = type->type_kind;
    if (from == type)
        return node;
    if (kind == TYPE_VOID)
        return new_node(NODE_CONVERT, type, node, 0);
    if (!is_scalar(from) || !is_scalar(type))
        fail("a number or pointer expected here");
    if ((is_pointer(from) && is_float(type)) || (is_float(from) && is_pointer(type)))
        fail("pointers and floating numbers cannot be converted into each other");
    if (kind == TYPE_BOOL && from->type_kind != TYPE_BOOL) {
        node = binary(NODE_NOT_EQUAL, node, is_pointer(from) ? constant(from, 0, 0) : int_constant(0));
        return is_constant(node) ? constant(type, node->node_low, 0) : new_node(NODE_CONVERT, type, node, 0);
    }
    if (is_constant(node)) {
        if (!is_float(type))
            return constant(type, node->node_low, node->node_high);
        float_from64(node->node_low, node->node_high, from->type_unsigned, size_of(type));
        return float_constant(type);
    }
    if (node->node_kind == NODE_FLOAT) {
        take_float(node);
        if (is_float(type)) {
            round_float(size_of(type));
            return float_constant(type);
        }
        if (truncate_float(node))
            return constant(type, low_word, high_word);
    }
    if (is_address(node) && size_of(type) == 4)
        return retyped(node, type);
    return new_node(NODE_CONVERT, type, node, 0);
}

/* Integer promotion */
struct node *promoted(struct node *node)
{
    node = decayed(node);
    struct type *type = node->node_type;
    if (!is_integer(type))
        return node;
    if (type->type_kind < TYPE_INT || (node->node_kind == NODE_FIELD && node->node_member->member_bits < 32))
        return convert(node, type_int);
    return node;
}

struct type *common_type(struct type *a, struct type *b)
{
    if (!is_arithmetic(a) || !is_arithmetic(b))
        fail("numbers expected as operands");
    if (a->type_kind < b->type_kind)
        return b;
    if (a->type_kind == b->type_kind && b->type_unsigned)
        return b;
    return a;
}

/* Whether left op right of constants was computed into low_word and high_word */
int fold(int kind, struct node *left, struct node *right)
{
    int is_less;
    int a = left->node_low;
    int a_high = left->node_high;
    int b = right->node_low;
    int b_high = right->node_high;
    int is_unsigned = left->node_type->type_unsigned;
    if (is_unsigned)
        is_less = below64(a, a_high, b, b_high);
    else
        is_less = a_high < b_high || (a_high == b_high && below(a, b));
    switch (kind) {
    case NODE_ADD: add64(a, a_high, b, b_high); break;
    case NODE_SUBTRACT: subtract64(a, a_high, b, b_high); break;
    case NODE_MULTIPLY: multiply64(a, a_high, b, b_high); break;
    case NODE_DIVIDE:
    case NODE_MODULO:
        if (!b && !b_high)
            return NO;
        if (is_unsigned)
            divide_unsigned64(a, a_high, b, b_high);
        else
            divide_signed64(a, a_high, b, b_high);
        if (kind == NODE_MODULO)
            set64(rest_low, rest_high);
        break;
    case NODE_AND: set64(a & b, a_high & b_high); break;
    case NODE_OR: set64(a | b, a_high | b_high); break;
    case NODE_XOR: set64(a ^ b, a_high ^ b_high); break;
    case NODE_SHIFT_LEFT:
        shift_left64(a, a_high, is_64(left->node_type) ? b : b & 31);
        break;
    case NODE_SHIFT_RIGHT:
        shift_right64(a, a_high, is_64(left->node_type) ? b : b & 31, is_unsigned);
        break;
    case NODE_EQUAL: set64(a == b && a_high == b_high, 0); break;
    case NODE_NOT_EQUAL: set64(a != b || a_high != b_high, 0); break;
    case NODE_LESS: set64(is_less, 0); break;
    case NODE_GREATER_EQUAL: set64(!is_less, 0); break;
    case NODE_GREATER: set64(!is_less && (a != b || a_high != b_high), 0); break;
    case NODE_LESS_EQUAL: set64(is_less || (a == b && a_high == b_high), 0); break;
    default: return NO;
    }
    return YES;
}

/* An operation whose operands have the right types already */
struct node *operation(int kind, struct type *type, struct node *left, struct node *right)
{
    if (is_constant(left) && is_constant(right) && fold(kind, left, right))
        return constant(type, low_word, high_word);
    if ((kind == NODE_ADD || kind == NODE_SUBTRACT) && is_constant(right) && size_of(type) == 4 && !is_float(type)) {
        if (right->node_low == 0 && left->node_type == type)
            return left;
        if (is_address(left)) {
            struct node *node = retyped(left, type);
            node->node_low += kind == NODE_ADD ? right->node_low : -right->node_low;
            return node;
        }
        if (kind == NODE_SUBTRACT)
            return operation(NODE_ADD, type, left, constant(right->node_type, -right->node_low, 0));
        if (left->node_kind == NODE_ADD && is_constant(left->node_right))
            return new_node(NODE_ADD, type, left->node_left,
                            constant(type_int, left->node_right->node_low + right->node_low, 0));
    }
    return new_node(kind, type, left, right);
}

/* pointer + number * size, or - */
struct node *pointer_sum(int kind, struct node *pointer, struct node *number)
{
    if (!is_integer(number->node_type))
        fail("an integer expected beside a pointer");
    int size = size_of(pointer->node_type->type_base);
    number = binary(NODE_MULTIPLY, convert(number, type_int), int_constant(size));
    return operation(kind, pointer->node_type, pointer, number);
}

struct node *pointer_difference(struct node *left, struct node *right)
{
    if (!compatible(left->node_type->type_base, right->node_type->type_base))
        fail("pointers to the same type expected");
    left = operation(NODE_SUBTRACT, type_int, convert(left, type_int), convert(right, type_int));
    return binary(NODE_DIVIDE, left, int_constant(size_of(right->node_type->type_base)));
}

/* Whether pointers to `a` and `b` may be mixed. Signed and unsigned characters are not told apart. */
int same_target(struct type *a, struct type *b)
{
    if (a->type_kind == TYPE_VOID || b->type_kind == TYPE_VOID)
        return YES;
    if (a->type_kind <= TYPE_LLONG && a->type_kind == b->type_kind)
        return YES;
    if (is_pointer(a) && is_pointer(b))
        return same_target(a->type_base, b->type_base);
    return compatible(a, b);
}

struct node *pointer_comparison(int kind, struct node *left, struct node *right)
{
    if (is_pointer(left->node_type) && is_null(right))
        right = constant(left->node_type, 0, 0);
    else if (is_pointer(right->node_type) && is_null(left))
        left = constant(right->node_type, 0, 0);
    else if (!is_pointer(left->node_type) || !is_pointer(right->node_type))
        fail("a pointer is compared with a number");
    else if (!same_target(left->node_type->type_base, right->node_type->type_base))
        fail("pointers to different types are compared");
    return operation(kind, type_int, left, right);
}

struct node *binary(int kind, struct node *left, struct node *right)
{
    left = promoted(left);
    right = promoted(right);
    if (is_pointer(left->node_type) || is_pointer(right->node_type)) {
        if (kind >= NODE_EQUAL)
            return pointer_comparison(kind, left, right);
        if (kind == NODE_ADD && is_pointer(right->node_type))
            return pointer_sum(kind, right, left);
        if (kind == NODE_SUBTRACT && is_pointer(right->node_type) && is_pointer(left->node_type))
            return pointer_difference(left, right);
        if (is_pointer(left->node_type) && (kind == NODE_ADD || kind == NODE_SUBTRACT))
            return pointer_sum(kind, left, right);
        fail("operation not defined for pointers");
    }
    if (kind == NODE_SHIFT_LEFT || kind == NODE_SHIFT_RIGHT) {
        if (!is_integer(left->node_type) || !is_integer(right->node_type))
            fail("integers expected as operands");
        return operation(kind, left->node_type, left, convert(right, type_int));
    }
    struct type *type = common_type(left->node_type, right->node_type);
    if (is_float(type) && kind >= NODE_MODULO && kind <= NODE_XOR)
        fail("integers expected as operands");
    return operation(kind, kind >= NODE_EQUAL ? type_int : type, convert(left, type), convert(right, type));
}

/* A condition is compared with zero; comparisons are conditions already. */
struct node *condition_of(struct node *node)
{
    node = decayed(node);
    if (!is_scalar(node->node_type))
        fail("a number or pointer expected as condition");
    if (node->node_kind >= NODE_EQUAL || node->node_kind == NODE_AND_AND || node->node_kind == NODE_OR_OR)
        return node;
    if (node->node_kind == NODE_GLOBAL)
        return int_constant(1);
    return binary(NODE_NOT_EQUAL, node, is_pointer(node->node_type) ? constant(node->node_type, 0, 0) : int_constant(0));
}

/* Comparisons stand in pairs of opposites. */
int opposite(int kind)
{
    return NODE_EQUAL + ((kind - NODE_EQUAL) ^ 1);
}

struct node *negation(struct node *node)
{
    node = condition_of(node);
    if (node->node_kind >= NODE_EQUAL && !is_float(node->node_left->node_type))
        return new_node(opposite(node->node_kind), type_int, node->node_left, node->node_right);
    return binary(NODE_EQUAL, node, int_constant(0));
}

struct node *logical(int kind, struct node *left, struct node *right)
{
    left = condition_of(left);
    right = condition_of(right);
    if (is_constant(left)) {
        if ((kind == NODE_AND_AND) == (left->node_low != 0))
            return is_constant(right) ? right : binary(NODE_NOT_EQUAL, right, int_constant(0));
        return left;
    }
    return new_node(kind, type_int, left, right);
}

struct node *negative(struct node *node)
{
    node = promoted(node);
    if (!is_arithmetic(node->node_type))
        fail("a number expected behind '-'");
    if (node->node_kind == NODE_FLOAT) {
        take_float(node);
        float_exponent ^= 32768;
        return float_constant(node->node_type);
    }
    if (is_constant(node)) {
        negate64(node->node_low, node->node_high);
        return constant(node->node_type, low_word, high_word);
    }
    return new_node(NODE_NEGATE, node->node_type, node, 0);
}

struct node *complement(struct node *node)
{
    node = promoted(node);
    if (!is_integer(node->node_type))
        fail("an integer expected behind '~'");
    if (is_constant(node))
        return constant(node->node_type, ~node->node_low, ~node->node_high);
    return new_node(NODE_COMPLEMENT, node->node_type, node, 0);
}

/* The value converted as if by assignment to an object of that type */
struct node *assignable(struct node *value, struct type *type)
{
    value = decayed(value);
    struct type *from = value->node_type;
    if (type->type_kind == TYPE_STRUCT) {
        if (!compatible(type, from))
            fail("a value of this struct or union expected");
        return value;
    }
    if (is_arithmetic(type) && (is_arithmetic(from) || (type->type_kind == TYPE_BOOL && is_pointer(from))))
        return convert(value, type);
    if (is_pointer(type)) {
        if (is_null(value) && (is_integer(from) || is_pointer(from)))
            return convert(value, type);
        if (is_pointer(from) && same_target(type->type_base, from->type_base))
            return convert(value, type);
        fail(is_pointer(from) ? "a pointer to another type expected" : "a pointer expected");
    }
    fail("a value of another type expected");
    return value;
}

struct node *assign(struct node *object, struct node *value)
{
    if ((object->node_kind != NODE_INDIRECT && object->node_kind != NODE_FIELD)
        || object->node_type->type_kind >= TYPE_ARRAY)
        if (object->node_kind != NODE_INDIRECT || object->node_type->type_kind != TYPE_STRUCT)
            fail("an object that can be assigned to expected");
    return new_node(NODE_ASSIGN, object->node_type, object, assignable(value, object->node_type));
}

struct node *comma(struct node *left, struct node *right)
{
    return new_node(NODE_COMMA, right->node_type, left, right);
}

/* The frame of the function being compiled: bytes used below the saved frame pointer, and the most that was used */
int frame_used;
int frame_most;

int new_local(struct type *type)
{
    frame_used = round_up(frame_used + size_of(type), 4);
    if (frame_used < 0 || frame_used > 1000000000)
        fail("too many local variables");
    if (frame_used > frame_most)
        frame_most = frame_used;
    return -frame_used;
}

struct node *temporary(struct type *type)
{
    return object_at(local_address(type, new_local(type)));
}

/* Assignments that read their object: its address is computed once, into a temporary unless it is constant.
   shared_object is the object by that address, shared_begin the assignment to the temporary or 0. */
struct node *shared_object;
struct node *shared_begin;

void share(struct node *object)
{
    shared_object = object;
    shared_begin = 0;
    if (object->node_kind != NODE_INDIRECT && object->node_kind != NODE_FIELD)
        fail("an object that can be assigned to expected");
    if (is_address(object->node_left))
        return;
    struct node *pointer = temporary(object->node_left->node_type);
    shared_begin = new_node(NODE_ASSIGN, pointer->node_type, pointer, object->node_left);
    struct node *copy = new_node(object->node_kind, object->node_type, pointer, 0);
    copy->node_member = object->node_member;
    shared_object = copy;
}

struct node *assign_operation(int kind, struct node *object, struct node *value)
{
    share(object);
    struct node *begin = shared_begin;
    object = shared_object;
    struct node *result = assign(object, binary(kind, object, value));
    return begin ? comma(begin, result) : result;
}

/* object++ and object--: the old value is kept in a temporary. */
struct node *postfix(int kind, struct node *object)
{
    share(object);
    struct node *begin = shared_begin;
    object = shared_object;
    if (!is_scalar(object->node_type))
        fail("a number or pointer expected before '++' or '--'");
    struct node *old = temporary(object->node_type);
    struct node *result = comma(assign(old, object), comma(assign(object, binary(kind, old, int_constant(1))), old));
    return begin ? comma(begin, result) : result;
}

/* The member called `name`, looked for in unnamed members too; its offset from the begin of the record is left here. */
int found_offset;

struct member *find_member(struct record *record, struct name *name)
{
    struct member *member;

    for (member = record->record_members; member; member = member->member_next)
        if (member->member_name == name) {
            found_offset = member->member_offset;
            return member;
        } else if (!member->member_name && member->member_type->type_kind == TYPE_STRUCT) {
            struct member *inner = find_member(member->member_type->type_record, name);
            if (inner) {
                found_offset += member->member_offset;
                return inner;
            }
        }
    return 0;
}

/* A member as an object, given the address of its struct */
struct node *member_at(struct node *address, struct member *member, int offset)
{
    struct node *place = operation(NODE_ADD, pointer_to(member->member_type), address, int_constant(offset));
    struct node *node = new_node(member->member_is_field ? NODE_FIELD : NODE_INDIRECT, member->member_type, place, 0);
    node->node_member = member;
    return node;
}

struct node *select_member(struct node *object, struct name *name)
{
    struct node *address;

    if (object->node_type->type_kind != TYPE_STRUCT)
        fail_name("a struct or union expected before member ", name, "");
    if (!object->node_type->type_record->record_complete)
        fail_name("struct or union not defined where it is asked for member ", name, "");
    struct member *member = find_member(object->node_type->type_record, name);
    if (!member)
        fail_name("no such member: ", name, "");
    if (object->node_kind == NODE_INDIRECT)
        address = object->node_left;
    else
        address = new_node(NODE_CONVERT, pointer_to(object->node_type), object, 0);
    return member_at(address, member, found_offset);
}
