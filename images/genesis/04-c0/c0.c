// c0: the compiler of C0, the part of C in which all later programs of ours are written. README.md defines C0
// and the code for each construct. This source keeps to what mc knows.

// Kinds of items: those from K_INT on in the order of the words that start() enters, those from S_NE on in the
// order of its signs.
enum {
    END, NAME, NUMBER, STRING,
    K_INT, K_CHAR, K_VOID, K_STRUCT, K_ENUM, K_SIZEOF, K_IF, K_ELSE, K_WHILE, K_DO, K_FOR, K_SWITCH, K_CASE,
    K_DEFAULT, K_BREAK, K_CONTINUE, K_RETURN, K_OTHERS,
    S_NE = 64, S_NOT, S_MOD_SET, S_MOD, S_AND_AND, S_AND_SET, S_AND, S_OPEN, S_CLOSE, S_MUL_SET, S_MUL, S_INC,
    S_ADD_SET, S_ADD, S_COMMA, S_DEC, S_ARROW, S_SUB_SET, S_SUB, S_DIV_SET, S_DIV, S_COLON, S_SEMICOLON, S_SHL_SET,
    S_SHL, S_LE, S_LT, S_EQ, S_SET, S_SHR_SET, S_SHR, S_GE, S_GT, S_QUESTION, S_INDEX, S_INDEX_END, S_XOR_SET,
    S_XOR, S_BEGIN, S_OR_OR, S_OR_SET, S_OR, S_FINISH, S_COMPLEMENT, SIGNS_END,
    ASSIGNMENT = 20         // level of = += and so on
};
// Types: 8 times the base plus the number of stars. From STRUCT on the base is 3 plus the number of the tag's name.
enum { INT = 0, CHAR = 8, VOID = 16, STRUCT = 24 };
// Kinds of symbols
enum { CONSTANT = 1, VARIABLE, ARRAY, FUNCTION };
// Addresses of the program (0x08048000) and of its variables (0x08448000); sizes of the arrays below
enum { BASE = 134512640, BSS = 138706944, IMAGE = 4194304, TEXT = 4194304, NAMES = 16384, SYMBOLS = 16384 };
enum { LITERAL = 65536, CASES = 4096, DEPTH = 500 };
// Numbers of names: keywords come first, then these.
enum { SYSCALL = 32, MAIN };

// The source: all files one after the other; at is behind the current item
char text[4194560]; int text_size; int at; int line; int file_name;
// The current item: its kind; its value if it is a number; its name's number; its characters if it is a string
int token; int number; int name; char literal[65536]; int literal_size;
char class[256];            // 1 for letters, 2 for digits
int first_sign[256];        // 1 + the first sign that begins with a character
int signs; int sign_text[128]; int sign_size[128]; int sign_level[128]; int sign_code[128];

// Names, each kept once, in lists by their hash, which hold 1 + the name's number
int names; int name_start[16384]; int name_size[16384];
int name_next[16384]; int name_hash[4096];
int name_symbol[16384];     // the innermost symbol with this name, or 0
int tag_size[16384];        // size of the struct with this tag, or -1 as long as it is not known
int member_type[16384]; int member_offset[16384];
int member_tag[16384];      // 1 + the tag of the struct that has a member with this name

// Symbols; scope is the first one of the innermost block
int symbols; int scope; int symbol_name[16384]; int symbol_kind[16384]; int symbol_type[16384];
int symbol_value[16384];    // of a constant; address of a variable; where the code of a function is, or 0
int symbol_local[16384];    // whether the address counts from ebp
int symbol_count[16384];    // parameters of a function
int symbol_calls[16384];    // the last call before the definition; its field holds the place of the one before
int symbol_hidden[16384];   // the symbol of the same name in an outer block

// The program
char out[5242880]; int here; // here: its size so far
int lea;                    // where the last instruction starts if it is a lea, or 0
int bss;                    // address of the next variable
int lvalue;                 // whether an operand's code leaves its address in eax, not yet its value
int slots; int function;    // local variables of the current function
int breaks; int continues;  // lists like symbol_calls; -1 outside of loops
int cases; int case_value[4096]; int case_at[4096];
int depth;                  // of expressions and statements

// Messages

int write(int address, int size) { return syscall(4, 2, address, size); }

int put(char *s) { int n = 0; while (s[n]) n++; return write((int)s, n); }

int put_number(int n) {
    if (n > 9) put_number(n / 10);
    literal[0] = '0' + n % 10;
    return write((int)literal, 1);
}

int put_place() { put(file_name); put(":"); put_number(line); return put(": "); }

int stop(char *message) { put(message); put("\n"); return syscall(1, 1, 0, 0); }

int error(char *message) { put_place(); return stop(message); }

int error_at_name(int n, char *message) {
    put_place(); write((int)text + name_start[n], name_size[n]);
    return stop(message);
}

// The source's items

int is_word(int c) { return class[c & 255] != 0; }

// The number of the name that the source has from start to at.
int intern(int start) {
    int size = at - start; int hash = 0; int i; int n;
    for (i = start; i < at; i++) hash = hash * 31 + text[i] & 4095;
    for (n = name_hash[hash] - 1; n >= 0; n = name_next[n] - 1) {
        for (i = 0; i < size && text[name_start[n] + i] == text[start + i]; i++) ;
        if (i == size && name_size[n] == size) return n;
    }
    if (names == NAMES) error("too many names");
    n = names++;
    name_start[n] = start; name_size[n] = size;
    name_next[n] = name_hash[hash]; name_hash[hash] = n + 1; tag_size[n] = -1;
    return n;
}

int digit_value(int c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

int scan_number() {
    int base = 10; int d;
    number = 0;
    if (text[at] == '0') {
        base = 8;
        if (text[at + 1] == 'x' || text[at + 1] == 'X') {
            base = 16; at = at + 2;
            if (!is_word(text[at])) error("bad number");
        }
    }
    while (is_word(text[at])) {
        d = digit_value(text[at]);
        if (d >= base) error("bad number");
        if (base == 10 && (number > 214748364 || number == 214748364 && d > 7)) error("number too large");
        if (base == 8 && (number >> 29 & 7) || base == 16 && (number >> 28 & 15)) error("number too large");
        number = number * base + d; at++;
    }
    return token = NUMBER;
}

// One character of a string or character constant; the message is for when there is none.
int source_character(char *message) {
    if (at == text_size || text[at] == '\n') error(message);
    return text[at++] & 255;
}

// The same, or what its escape stands for.
int scan_character(char *message) {
    char *escapes = "abtnvfr";      // 7 and so on
    int c = source_character(message); int base = 8; int i;
    if (c != '\\') return c;
    c = source_character(message);
    for (i = 0; escapes[i]; i++) if (escapes[i] == c) return i + 7;
    if (c == '\\' || c == '\'' || c == '"') return c;
    if (c == 'x') base = 16;
    else at = at - 1;
    for (i = c = 0; i < 3 && digit_value(text[at]) < base; i++) c = c * base + digit_value(text[at++]);
    if (i == 0 || c > 255 || i == 3 && base == 16) error("bad escape");
    return c;
}

int skip_comment() {
    int start = line;
    at = at + 2;
    while (text[at] != '*' || text[at + 1] != '/') {
        if (at >= text_size) { line = start; error("unterminated comment"); }
        line = line + (text[at] == '\n'); at++;
    }
    return at = at + 2;
}

// Skip blanks and comments; the result is the next character.
int skip() {
    int c;
    while (1) {
        c = text[at];
        if (c == ' ' || c >= 9 && c <= 13) {
            line = line + (c == '\n'); at++;
        } else if (c == '/' && text[at + 1] == '*') skip_comment();
        else if (c == '/' && text[at + 1] == '/') {
            while (at < text_size && text[at] != '\n') at++;
        } else return c & 255;
    }
}

// Adjacent strings make one.
int scan_string() {
    literal_size = 0;
    while (skip() == '"') {
        for (at++; text[at] != '"'; literal_size++) {
            if (literal_size == LITERAL) error("string too long");
            literal[literal_size] = scan_character("unterminated string");
        }
        at++;
    }
    return token = STRING;
}

int scan_character_constant() {
    at++;
    if (text[at] == '\'') error("bad character constant");
    number = scan_character("bad character constant");
    if (number > 127) number = number - 256;
    if (text[at++] != '\'') error("bad character constant");
    return token = NUMBER;
}

int scan_sign(int c) {
    int sign; char *s; int i;
    for (sign = first_sign[c] - 1; sign >= 0 && sign < SIGNS_END; sign++) {
        s = sign_text[sign];
        for (i = 0; i < sign_size[sign] && s[i] == text[at + i]; i++) ;
        if (i == sign_size[sign]) { at = at + i; return token = sign; }
    }
    put_place(); put("unexpected byte "); put_number(c);
    return stop("");
}

int next() {
    int c = skip(); int start = at;
    if (at >= text_size) return token = END;
    if (class[c] == 1) {
        while (is_word(text[at])) at++;
        name = intern(start);
        if (name < SYSCALL) return token = K_INT + name;
        return token = NAME;
    }
    if (class[c] == 2) return scan_number();
    if (c == '"') return scan_string();
    if (c == '\'') return scan_character_constant();
    return scan_sign(c);
}

int accept(int kind) { if (token != kind) return 0; next(); return 1; }

int expect(int kind, char *message) { if (token != kind) error(message); return next(); }

int expect_open() { return expect(S_OPEN, "expected ("); }
int expect_close() { return expect(S_CLOSE, "expected )"); }
int expect_semicolon() { return expect(S_SEMICOLON, "expected ;"); }
int expect_colon() { return expect(S_COLON, "expected :"); }

int expect_name() { int n = name; expect(NAME, "expected a name"); return n; }

int deeper() { if (depth++ == DEPTH) error("nested too deeply"); return depth; }

// Symbols

int add_symbol(int n, int kind, int type, int value) {
    int s = symbols++;
    if (s == SYMBOLS) error("too many names");
    symbol_name[s] = n; symbol_kind[s] = kind;
    symbol_type[s] = type; symbol_value[s] = value;
    symbol_local[s] = symbol_count[s] = symbol_calls[s] = 0;
    symbol_hidden[s] = name_symbol[n];
    return name_symbol[n] = s;
}

int declare(int n, int kind, int type, int value) {
    if (name_symbol[n] >= scope) error_at_name(n, " is defined twice");
    return add_symbol(n, kind, type, value);
}

// Forget the symbols of a block; the outer one begins with this symbol.
int leave(int outer) {
    while (symbols > scope) { symbols = symbols - 1; name_symbol[symbol_name[symbols]] = symbol_hidden[symbols]; }
    return scope = outer;
}

int find(int n) { if (name_symbol[n] == 0) error_at_name(n, " is not declared"); return name_symbol[n]; }

// Code

int emit_byte(int b) { return out[here++] = b; }

int set(int place, int value) {
    out[place] = value; out[place + 1] = value >> 8; out[place + 2] = value >> 16;
    out[place + 3] = value >> 24;
    return value;
}

int get(int place) {
    return out[place] & 255 | (out[place + 1] & 255) << 8 | (out[place + 2] & 255) << 16 | out[place + 3] << 24;
}

int emit_number(int value) { set(here, value); return here = here + 4; }

// Bytes given as hex digits, up to a blank or the end
int emit(char *hex) {
    int i;
    if (here > IMAGE) error("the program is too large");
    for (i = 0; is_word(hex[i]); i = i + 2) emit_byte(digit_value(hex[i]) * 16 + digit_value(hex[i + 1]));
    return here;
}

int emit_with(char *hex, int value) { emit(hex); return emit_number(value); }

int emit_lea(int modrm, int value) { lea = here; emit("8d"); emit_byte(modrm); return emit_number(value); }

int after_lea() { return lea && lea + 6 == here; }

// A jump whose field is filled in later, and holds this value until then. The result is the field's place.
int jump(char *hex, int held) { return emit_with(hex, held) - 4; }
int fill(int field, int target) { return set(field, target - field - 4); }
int jump_to(char *hex, int target) { return fill(jump(hex, 0), target); }

int fill_list(int field, int target) {
    int before;
    while (field) { before = get(field); fill(field, target); field = before; }
    return lea = 0;
}

// The jump with this field comes here.
int land(int field) { lea = 0; return fill(field, here); }

int push() { return emit("50"); }

// The right operand's code is from start on, behind a push: the left operand goes to eax, the right one to ecx.
int pop_left(int start) {
    if (here != start + 6) return emit("89c158");
    out[start + 1] = out[start + 1] | 8;
    for (; start < here; start++) out[start - 1] = out[start];
    lea = 0;
    return here = here - 1;
}

// Types

int is_pointer(int type) { return (type & 7) != 0; }
int is_simple(int type) { return is_pointer(type) || type == INT || type == CHAR; }
int promoted(int type) { if (type == CHAR) return INT; return type; }
int at_type() { return token >= K_INT && token <= K_STRUCT; }

int base_type() {
    int kind = token;
    if (!at_type()) error("expected a type");
    next();
    if (kind == K_STRUCT) return STRUCT + 8 * expect_name();
    return (kind - K_INT) * 8;
}

int pointer_to(int type) { if ((type & 7) == 7) error("too many levels of pointers"); return type + 1; }

int stars(int type) { while (accept(S_MUL)) type = pointer_to(type); return type; }

int need_simple(int type) { if (!is_simple(type)) error("a variable cannot have this type"); return type; }

int size_of(int type) {
    if (type == CHAR) return 1;
    if (is_simple(type)) return 4;
    if (type == VOID || tag_size[(type - STRUCT) / 8] < 0) error("the size is not known");
    return tag_size[(type - STRUCT) / 8];
}

int sizeof_type() { int type; expect_open(); type = stars(base_type()); expect_close(); return size_of(type); }

// Constant expressions

int compute(int sign, int a, int b) {
    if (sign == S_OR_OR) return a || b;     if (sign == S_AND_AND) return a && b;
    if (sign == S_OR) return a | b;         if (sign == S_XOR) return a ^ b;
    if (sign == S_AND) return a & b;        if (sign == S_EQ) return a == b;
    if (sign == S_NE) return a != b;        if (sign == S_LT) return a < b;
    if (sign == S_GT) return a > b;         if (sign == S_LE) return a <= b;
    if (sign == S_GE) return a >= b;        if (sign == S_SHL) return a << b;
    if (sign == S_SHR) return a >> b;       if (sign == S_ADD) return a + b;
    if (sign == S_SUB) return a - b;        if (sign == S_MUL) return a * b;
    if (b == 0 || b == -1 && a != 0 && a == -a) error("bad division");
    if (sign == S_DIV) return a / b;
    return a % b;
}

int constant();

int constant_unary() {
    int kind = token; int value = number;
    if (kind == NAME) {
        kind = find(name);
        if (symbol_kind[kind] != CONSTANT) error("expected a constant");
        value = symbol_value[kind]; kind = NUMBER;
    }
    deeper();
    if (accept(K_SIZEOF)) value = sizeof_type();
    else if (accept(S_SUB)) value = -constant_unary();
    else if (accept(S_COMPLEMENT)) value = ~constant_unary();
    else if (accept(S_NOT)) value = !constant_unary();
    else if (accept(S_OPEN)) {
        value = constant(); expect_close();
    } else if (kind == NUMBER) next();
    else error("expected a constant");
    depth = depth - 1;
    return value;
}

int constant_binary(int level) {
    int left = constant_unary(); int sign = token;
    while (sign_level[sign] >= level && sign_level[sign] < ASSIGNMENT) {
        next();
        left = compute(sign, left, constant_binary(sign_level[sign] + 1)); sign = token;
    }
    return left;
}

int constant() {
    int value = constant_binary(1); int first; int second;
    if (!accept(S_QUESTION)) return value;
    deeper(); first = constant(); expect_colon();
    second = constant(); depth = depth - 1;
    if (value) return first;
    return second;
}

// Expressions. The functions return the type of what the code leaves in eax, and set lvalue.

int expression(); int unary();

// Turn an operand into a value.
int load(int type) {
    if (type == VOID) error("a void is used as a value");
    if (!is_simple(type)) error("a struct is used as a value");
    if (lvalue) {
        if (type == CHAR) emit("0fbe00");
        else if (after_lea()) {
            out[lea] = 139;         // 8b
            lea = 0;
        } else emit("8b00");
    }
    lvalue = 0;
    return promoted(type);
}

int value() { return load(expression()); }

// Put the string into the code, behind a jump; its address is the result.
int string() {
    int field = jump("e9", 0); int start = here; int i;
    for (i = 0; i < literal_size; i++) emit_byte(literal[i]);
    emit_byte(0); land(field); next();
    return BASE + start;
}

int emit_call(int s) {
    if (symbol_value[s]) return jump_to("e8", symbol_value[s]);
    return symbol_calls[s] = jump("e8", symbol_calls[s]);
}

int call(int s) {
    int count = 0;
    for (expect_open(); token != S_CLOSE; count++) { if (count) expect(S_COMMA, "expected ,"); value(); push(); }
    if (count != symbol_count[s]) {
        put_place(); put("expected "); put_number(symbol_count[s]);
        stop(" arguments");
    }
    next();
    if (s == 1) emit("5a595b58cd80");       // syscall
    else emit_call(s);
    if (s != 1 && count) emit_with("81c4", 4 * count);
    lvalue = 0;
    return promoted(symbol_type[s]);
}

int primary() {
    int s;
    lvalue = 0;
    if (token == NUMBER) { emit_lea(5, number); next(); return INT; }
    if (token == STRING) { emit_lea(5, string()); return CHAR + 1; }
    if (token != NAME) error("expected an expression");
    s = find(name); next();
    if (symbol_kind[s] == FUNCTION) return call(s);
    if (token == S_OPEN) error("this is not a function");
    emit_lea(5 + 128 * symbol_local[s], symbol_value[s]);
    if (symbol_kind[s] == ARRAY) return pointer_to(symbol_type[s]);
    lvalue = symbol_kind[s] == VARIABLE;
    return symbol_type[s];
}

// Multiply ecx by a size, or eax.
int scale(int size, int ecx) {
    if (size == 4) { if (ecx) return emit("c1e102"); return emit("c1e002"); }
    if (size == 1) return here;
    if (ecx) return emit_with("69c9", size);
    return emit_with("69c0", size);
}

// One binary operation of eax and ecx.
int operate(int sign, int left, int right) {
    int pointers = is_pointer(left) + is_pointer(right); char *code = sign_code[sign];
    lvalue = 0;
    if (sign_level[sign] == 6 || sign_level[sign] == 7) {
        emit("39c80f");
        emit_byte(digit_value(code[pointers != 0]) + 144);      // 90 and so on
        emit("c00fb6c0");
        return INT;
    }
    if (pointers && sign != S_ADD && sign != S_SUB) error("this operator does not take pointers");
    if (pointers == 1 && (is_pointer(left) || sign == S_ADD)) {
        if (is_pointer(left)) scale(size_of(left - 1), 1);
        else scale(size_of(right - 1), 0);
    } else if (pointers && (sign == S_ADD || pointers == 1)) error("this operator does not take pointers");
    if (pointers == 2 && left != right) error("pointers of different types");
    emit(code);
    if (pointers == 2 && size_of(left - 1) != 1) { emit_with("b9", size_of(left - 1)); emit("99f7f9"); }
    if (pointers != 1) return INT;
    if (is_pointer(left)) return left;
    return right;
}

// The operand that a pointer of this type points to
int target(int type) {
    if (!is_pointer(type)) error("expected a pointer");
    if (type == VOID + 1) error("a void pointer points to no value");
    lvalue = 1;
    return type - 1;
}

// The modrm byte of the lea of a variable's address just taken, or 0
int modrm_of_variable(int type) {
    if (!lvalue || !is_simple(type)) error("expected a variable");
    if (!after_lea() || (out[lea + 1] & 255) == 128) return 0;
    return out[lea + 1] & 255;
}

// Store eax: with this modrm byte and address, or at ecx.
int store(int type, int modrm, int address) {
    if (type == CHAR) emit("88");
    else emit("89");
    if (modrm == 0) return emit("01");
    emit_byte(modrm);
    return emit_number(address);
}

// ++ and --
int step(int type, int sign, int postfix) {
    int modrm = modrm_of_variable(type); int address = get(here - 4); int size = 1;
    if (modrm == 0) push();
    load(type);
    if (modrm == 0) emit("59");
    if (postfix) push();
    if (is_pointer(type)) size = size_of(type - 1);
    if (sign == S_DEC) size = -size;
    emit_with("05", size); store(type, modrm, address);
    if (postfix) emit("58");
    else if (type == CHAR) emit("0fbec0");
    return promoted(type);
}

int postfix(int type) {
    int start;
    while (1) {
        if (token == S_INC || token == S_DEC) {
            type = step(type, token, 1); next();
        } else if (accept(S_INDEX)) {
            type = load(type); target(type); start = push();
            if (is_pointer(value())) error("expected an integer");
            expect(S_INDEX_END, "expected ]"); pop_left(start);
            scale(size_of(type - 1), 1); emit("01c8"); type = target(type);
        } else if (accept(S_ARROW)) {
            type = load(type); start = expect_name();
            if (member_tag[start] == 0 || type != STRUCT + 8 * (member_tag[start] - 1) + 1)
                error("the pointer's type has no such member");
            emit_lea(128, member_offset[start]);
            lvalue = 1; type = member_type[start];
        } else return type;
    }
}

int cast() {
    int type = stars(base_type());
    expect_close(); load(unary());
    if (!is_simple(type)) error("cast to this type");
    if (type == CHAR) emit("0fbec0");
    return promoted(type);
}

// An operator before its operand of this type
int prefix(int sign, int type) {
    if (sign == S_INC || sign == S_DEC) return step(type, sign, 0);
    if (sign == S_AND) {
        if (!lvalue) error("expected a variable");
        lvalue = 0;
        return pointer_to(type);
    }
    type = load(type);
    if (sign == S_MUL) return target(type);
    if (sign == S_NOT) emit("85c00f94c00fb6c0");
    else if (is_pointer(type)) error("this operator does not take pointers");
    if (sign == S_SUB) emit("f7d8");
    if (sign == S_COMPLEMENT) emit("f7d0");
    return INT;
}

int unary() {
    int sign = token; int type = INT;
    deeper();
    if (sign == S_SUB || sign == S_COMPLEMENT || sign == S_NOT || sign == S_MUL || sign == S_AND || sign == S_INC
        || sign == S_DEC) {
        next(); type = prefix(sign, unary());
    } else if (accept(K_SIZEOF)) {
        emit_lea(5, sizeof_type());
        lvalue = 0;
    } else if (!accept(S_OPEN)) type = postfix(primary());
    else if (at_type()) type = cast();
    else { type = expression(); expect_close(); type = postfix(type); }
    depth = depth - 1;
    return type;
}

// Operators of this level or a higher one
int binary(int level) {
    int left = unary(); int start; int sign = token; int right;
    while (sign_level[sign] >= level && sign_level[sign] < ASSIGNMENT) {
        left = load(left); next();
        if (sign == S_AND_AND || sign == S_OR_OR) {
            emit("85c0"); start = jump(sign_code[sign], 0);
            load(binary(sign_level[sign] + 1)); emit("85c0"); land(start);
            emit("0f95c00fb6c0");
            left = INT;
        } else {
            start = push(); right = load(binary(sign_level[sign] + 1));
            pop_left(start); left = operate(sign, left, right);
        }
        sign = token;
    }
    return left;
}

int conditional() {
    int type = binary(1); int otherwise; int end; int second;
    if (token != S_QUESTION) return type;
    deeper(); load(type); next();
    otherwise = jump("85c00f84", 0); type = value(); expect_colon();
    end = jump("e9", 0); land(otherwise); second = load(conditional());
    land(end); depth = depth - 1;
    if (is_pointer(type)) return type;
    return second;
}

int assignment(int type, int sign) {
    int modrm = modrm_of_variable(type); int address = get(here - 4); int start; int left; int right;
    if (modrm == 0) push();
    if (sign == S_SET) {
        if (modrm) here = here - 6;
        lea = 0; value();
    } else {
        left = load(type); start = push(); right = value();
        pop_left(start);
        operate(sign + 1, left, right);        // the sign behind += is +
    }
    if (modrm == 0) emit("59");
    store(type, modrm, address);
    if (type == CHAR) emit("0fbec0");
    lvalue = 0;
    return promoted(type);
}

int expression() {
    int type; int sign;
    deeper();
    type = conditional(); sign = token;
    if (sign_level[sign] == ASSIGNMENT) { next(); type = assignment(type, sign); }
    depth = depth - 1;
    return type;
}

// Statements

int statement();

int local(int base) {
    int type = need_simple(stars(base)); int s;
    slots++; s = declare(expect_name(), VARIABLE, type, -4 * slots);
    symbol_local[s] = 1;
    if (!accept(S_SET)) return s;
    value();
    return store(type, 133, symbol_value[s]);   // 85
}

// A declaration or statement
int item() {
    int base;
    if (!at_type()) return statement();
    base = base_type(); local(base);
    while (accept(S_COMMA)) local(base);
    return expect_semicolon();
}

int parenthesised() { expect_open(); value(); return expect_close(); }

// A condition in parentheses, and a jump for when it is false
int condition() { parenthesised(); return jump("85c00f84", 0); }

int if_statement() {
    int otherwise = condition(); int end;
    statement();
    if (!accept(K_ELSE)) return land(otherwise);
    end = jump("e9", 0); land(otherwise); statement();
    return land(end);
}

int while_loop() {
    int start = here; int end;
    lea = 0; end = condition(); statement();
    fill_list(continues, start); jump_to("e9", start);
    return land(end);
}

int do_loop() {
    int start = here;
    lea = 0; statement(); expect(K_WHILE, "expected while");
    fill_list(continues, here); parenthesised(); jump_to("85c00f85", start);
    return expect_semicolon();
}

// Expressions in the head of a for loop
int expressions(int end) {
    if (token == end) return 0;
    expression();
    while (accept(S_COMMA)) expression();
    return 0;
}

int for_loop() {
    int start; int body; int step; int end = 0;
    expect_open(); expressions(S_SEMICOLON); expect_semicolon();
    lea = 0; start = here;
    if (token != S_SEMICOLON) { value(); end = jump("85c00f84", 0); }
    expect_semicolon();
    body = jump("e9", 0); step = here;
    expressions(S_CLOSE); expect_close(); jump_to("e9", start);
    land(body); statement(); fill_list(continues, step);
    jump_to("e9", step);
    return fill_list(end, here);
}

int add_case(int base, int value) {
    int i;
    for (i = base; i < cases; i++) if (case_value[i] == value) error("this case occurs twice");
    if (cases == CASES) error("too many cases");
    case_value[cases] = value; case_at[cases++] = here;
    return expect_colon();
}

int switch_statement() {
    int base = cases; int outer = scope; int otherwise = 0; int dispatch; int i;
    parenthesised(); dispatch = jump("e9", 0);
    expect(S_BEGIN, "expected {");
    scope = symbols;
    while (!accept(S_FINISH)) {
        if (accept(K_CASE)) add_case(base, constant());
        else if (accept(K_DEFAULT)) {
            if (otherwise) error("this case occurs twice");
            otherwise = here;
            expect_colon();
        } else item();
    }
    leave(outer); breaks = jump("e9", breaks); land(dispatch);
    for (i = base; i < cases; i++) { emit_with("3d", case_value[i]); jump_to("0f84", case_at[i]); }
    cases = base;
    if (otherwise) jump_to("e9", otherwise);
    return here;
}

int loop_or_switch(int kind) {
    int outer_breaks = breaks; int outer_continues = continues;
    next();
    breaks = 0;
    if (kind != K_SWITCH) continues = 0;
    if (kind == K_SWITCH) switch_statement();
    else if (kind == K_WHILE) while_loop();
    else if (kind == K_DO) do_loop();
    else for_loop();
    fill_list(breaks, here);
    breaks = outer_breaks;
    if (kind != K_SWITCH) continues = outer_continues;
    return here;
}

int return_statement() {
    int type = symbol_type[function];
    if (type != VOID) value();
    else if (token != S_SEMICOLON) error("a void function returns no value");
    if (type == CHAR) emit("0fbec0");
    expect_semicolon();
    return emit("c9c3");
}

// Add a jump to this list of breaks or continues.
int jump_out(int list) { if (list < 0) error("not in a loop"); return jump("e9", list); }

int statement() {
    int outer = scope;
    deeper();
    if (accept(S_BEGIN)) {
        scope = symbols;
        while (!accept(S_FINISH)) item();
        leave(outer);
    } else if (token == K_WHILE || token == K_DO || token == K_FOR || token == K_SWITCH) loop_or_switch(token);
    else if (accept(K_IF)) if_statement();
    else if (accept(K_RETURN)) return_statement();
    else if (accept(K_BREAK)) { breaks = jump_out(breaks); expect_semicolon(); }
    else if (accept(K_CONTINUE)) { continues = jump_out(continues); expect_semicolon(); }
    else if (!accept(S_SEMICOLON)) { expression(); expect_semicolon(); }
    return depth = depth - 1;
}

// Declarations

int enum_declaration() {
    int value = 0; int n; int more = 1;
    for (expect(S_BEGIN, "expected {"); more; more = accept(S_COMMA) && token != S_FINISH) {
        n = expect_name();
        if (accept(S_SET)) value = constant();
        declare(n, CONSTANT, INT, value++);
    }
    expect(S_FINISH, "expected }");
    return expect_semicolon();
}

int struct_declaration(int tag) {
    int size = 0; int base; int type; int n; int more;
    if (accept(S_BEGIN)) {
        if (tag_size[tag] >= 0) error_at_name(tag, " is defined twice");
        while (!accept(S_FINISH)) {
            base = base_type();
            for (more = 1; more; more = accept(S_COMMA)) {
                type = need_simple(stars(base)); n = expect_name();
                if (member_tag[n]) error_at_name(n, " is defined twice");
                member_tag[n] = tag + 1; member_offset[n] = size; member_type[n] = type;
                size = size + 4;
            }
            expect_semicolon();
        }
        tag_size[tag] = size;
    }
    return expect_semicolon();
}

// Code that stores a value before main is called
int put_value(int type, int address, int value) {
    if (type == CHAR) { emit_with("c605", address); return emit_byte(value); }
    emit_with("c705", address);
    return emit_number(value);
}

int initialise(int type, int address) {
    if (type == CHAR + 1 && token == STRING) return put_value(type, address, string());
    return put_value(type, address, constant());
}

// An array's initialiser, if there is one; the number of elements is the result.
int elements(int type, int size) {
    int count = 0; int more = 1;
    if (!accept(S_SET)) { if (size == 0) error("bad array size"); return size; }
    if (type == CHAR && token == STRING) {
        for (; count < literal_size; count++) put_value(CHAR, bss + count, literal[count]);
        count++;
        next();
    } else {
        for (expect(S_BEGIN, "expected {"); more; more = accept(S_COMMA) && token != S_FINISH)
            initialise(type, bss + count++ * size_of(type));
        expect(S_FINISH, "expected }");
    }
    if (size && count > size) error("too many values");
    if (size) return size;
    return count;
}

int variable(int n, int type) {
    int size = 1; int s;
    need_simple(type); s = declare(n, VARIABLE, type, bss);
    if (accept(S_INDEX)) {
        symbol_kind[s] = ARRAY; size = 0;
        if (token != S_INDEX_END) {
            size = constant();
            if (size <= 0 || size > 268435456) error("bad array size");
        }
        expect(S_INDEX_END, "expected ]"); size = elements(type, size);
    } else if (accept(S_SET)) initialise(type, bss);
    bss = bss + (size_of(type) * size + 3 & -4);
    if (bss >= 1073741824) error("too much memory");
    return s;
}

// The parameters become local symbols; their number is the result.
int parameters() {
    int count = 0; int base; int n;
    for (; !accept(S_CLOSE); count++) {
        if (count == 8) error("too many parameters");
        if (count) expect(S_COMMA, "expected ,");
        base = base_type();
        if (base == VOID && count == 0 && accept(S_CLOSE)) return 0;
        base = need_simple(stars(base));
        n = 0;                              // no name
        if (token == NAME) n = expect_name();
        if (n) base = declare(n, VARIABLE, base, 0);
        else base = add_symbol(0, VARIABLE, base, 0);
        symbol_local[base] = 1;
    }
    return count;
}

int body(int s) {
    int end; int frame; int i;
    for (i = 0; i < symbol_count[s]; i++) {
        if (symbol_name[scope + i] == 0) error("a parameter has no name");
        symbol_value[scope + i] = 4 + 4 * (symbol_count[s] - i);
    }
    next();
    end = jump("e9", 0); symbol_value[s] = here;
    fill_list(symbol_calls[s], here);
    function = s; slots = 0; frame = emit_with("5589e581ec", 0) - 4;
    while (!accept(S_FINISH)) item();
    emit("c9c3"); set(frame, 4 * slots);
    return land(end);
}

// A function whose name and parenthesis are read
int function_declaration(int n, int type) {
    int s = name_symbol[n]; int outer = scope; int count;
    if (!is_simple(type) && type != VOID) error("a function cannot have this type");
    if (s == 0) {
        s = add_symbol(n, FUNCTION, type, 0);
        symbol_count[s] = -1;               // not known yet
    }
    scope = symbols; count = parameters();
    if (symbol_count[s] < 0) symbol_count[s] = count;
    if (symbol_kind[s] != FUNCTION || symbol_type[s] != type || symbol_count[s] != count)
        error_at_name(n, " is declared differently before");
    if (token == S_BEGIN) {
        if (symbol_value[s]) error_at_name(n, " is defined twice");
        body(s);
        count = -1;
    }
    leave(outer);
    return count;
}

int declaration() {
    int base; int type; int n;
    if (accept(K_ENUM)) return enum_declaration();
    base = base_type();
    if (base >= STRUCT && (token == S_BEGIN || token == S_SEMICOLON)) return struct_declaration((base - STRUCT) / 8);
    while (1) {
        type = stars(base); n = expect_name();
        if (!accept(S_OPEN)) variable(n, type);
        else if (function_declaration(n, type) < 0) return here;
        if (!accept(S_COMMA)) return expect_semicolon();
    }
}

// Add a file to the source and compile it.
int compile(int path) {
    int file = syscall(5, path, 0, 0); int size;
    file_name = path; line = 0;
    size = syscall(3, file, (int)text + text_size, TEXT - text_size);
    if (size < 0) error("cannot read the file");
    at = text_size; text_size = text_size + size;
    if (text_size == TEXT) error("the source is too large");
    line = 1;
    next();
    while (token) declaration();
    return syscall(6, file, 0, 0);
}

// Enter the signs of this table: each with its level and the code of its operation.
int enter_signs(char *s) {
    int i; int c;
    for (i = 0; s[i]; signs++) {
        c = s[i];
        if (first_sign[c] == 0) first_sign[c] = signs + 1;
        sign_text[signs] = (int)s + i;
        while (s[i] != ' ') i++;
        sign_size[signs] = (int)s + i - sign_text[signs];
        sign_level[signs] = digit_value(s[i + 1]) * 10 + digit_value(s[i + 2]);
        sign_code[signs] = (int)s + i + 4; i = i + 4;
        while (s[i] != ' ') i++;
        i++;
    }
    return signs;
}

// Enter keywords: they are the first names.
int enter_words(char *s) {
    int i;
    for (i = 0; s[i]; i++) text[text_size++] = s[i];
    for (next(); token; next()) ;
    return names;
}

int start() {
    int c;
    for (c = 'a'; c <= 'z'; c++) class[c] = class[c - 'a' + 'A'] = 1;
    for (c = '0'; c <= '9'; c++) class[c] = 2;
    class['_'] = 1; signs = S_NE;
    // The code of a comparison is the second digit of setcc, for numbers and for pointers.
    enter_signs("!= 06 55 ! 00 - %= 20 - % 10 99f7f989d0 && 02 0f84 &= 20 - & 05 21c8 ( 00 - ) 00 - *= 20 - * 10 0fafc1 ");
    enter_signs("++ 00 - += 20 - + 09 01c8 , 00 - -- 00 - -> 00 - -= 20 - - 09 29c8 /= 20 - / 10 99f7f9 : 00 - ; 00 - ");
    enter_signs("<<= 20 - << 08 d3e0 <= 07 e6 < 07 c2 == 06 44 = 20 - >>= 20 - >> 08 d3f8 >= 07 d3 > 07 f7 ? 00 - ");
    enter_signs("[ 00 - ] 00 - ^= 20 - ^ 04 31c8 { 00 - || 01 0f85 |= 20 - | 03 09c8 } 00 - ~ 00 - ");
    enter_words("int char void struct enum sizeof if else while do for switch case default break continue return ");
    enter_words("auto const double extern float goto long register short signed static typedef union unsigned ");
    enter_words("volatile syscall main ");
    symbols = scope = 1; symbol_count[add_symbol(SYSCALL, FUNCTION, INT, 1)] = 4;
    breaks = continues = -1; bss = BSS;
    emit("7f454c46010101000000000000000000020003000100000054800408340000000000000000000000340020000100000000000000");
    return emit("0100000000000000008004080080040800000000000000000700000000100000");
}

// Start-up code: call main with the two words of the stack and end with its result.
int finish() {
    int s = name_symbol[MAIN]; int i;
    if (s == 0 || symbol_kind[s] != FUNCTION || symbol_count[s] != 2) error("no function main with two parameters");
    emit("8b04248d4c24045051"); emit_call(s); emit("89c3b801000000cd80");
    for (i = 1; i < symbols; i++)
        if (symbol_calls[i] && symbol_value[i] == 0) error_at_name(symbol_name[i], " is not defined");
    if (here > IMAGE) error("the program is too large");
    set(68, here);
    return set(72, bss - BASE);
}

int main(int argc, int *argv) {
    int i; int file;
    start();
    file_name = (int)"c0";
    if (argc < 3) error("usage: c0 OUTPUT SOURCE ...");
    for (i = 2; i < argc; i++) compile(argv[i]);
    finish();
    file = syscall(5, argv[1], 577, 493);       // open to write, made anew, permissions 755
    if (syscall(4, file, (int)out, here) == here) return 0;
    file_name = argv[1];
    return error("cannot write the file");
}
