/*
 * The golden and must-fail vectors of tests/vectors. In these files `#` begins a comment, and
 * a vector is a head line and the lines of hex bytes after it (`5a*4096` is a byte repeated):
 *
 *   message KIND field=number id=space:object data="text"      or data=hex
 *   verdict VERDICT to-server|to-client at=BYTES limit=BYTES
 *
 * where `at` says after how many bytes of the frame the verdict is known, and `limit` is the
 * frame limit if it is not WIRE_FRAME_MAX.
 */
#include "wire/wire.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VECTOR_MAX 8192

struct vector {
    char where[512]; /* file and line, for messages */
    char head[1024];
    uint8_t bytes[VECTOR_MAX];
    size_t size;
};

/* ---- reading the files ---- */

static uint64_t parse_number(const struct vector *vector, const char *text, int base)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, base);
    if (errno != 0 || end == text || *end != '\0') {
        fail_msg("%s: not a number: %s", vector->where, text);
    }
    return number;
}

/* Add the bytes of "5a", "5a*4096" or "5a5b5c" to @bytes. */
static size_t parse_hex(const struct vector *vector, char *text, uint8_t *bytes, size_t size)
{
    uint64_t times = 1;
    char *star = strchr(text, '*');
    if (star != NULL) {
        *star = '\0';
        times = parse_number(vector, star + 1, 10);
    }
    for (; *text != '\0'; text += 2) {
        const char digits[3] = {text[0], text[1], '\0'};
        const uint8_t byte = (uint8_t)parse_number(vector, digits, 16);
        for (uint64_t i = 0; i < times; i++) {
            assert_true(size < VECTOR_MAX);
            bytes[size++] = byte;
        }
        assert_true(text[1] != '\0');
    }
    return size;
}

static void cut_comment(char *line)
{
    line[strcspn(line, "#\n")] = '\0';
}

/* Read the next vector. Return: false at the end of the file. */
static bool read_vector(FILE *file, const char *path, int *line_number, struct vector *vector)
{
    char line[1024];
    vector->head[0] = '\0';
    vector->size = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        ++*line_number;
        const bool blank = line[0] == '\n';
        cut_comment(line);
        if (blank && vector->head[0] != '\0') {
            return true;
        }
        if (line[0] == '\0') {
            continue;
        }
        if (vector->head[0] == '\0') {
            snprintf(vector->where, sizeof(vector->where), "%s:%d", path, *line_number);
            memcpy(vector->head, line, sizeof(line));
            continue;
        }
        char *rest = NULL;
        for (char *word = strtok_r(line, " ", &rest); word != NULL;
             word = strtok_r(NULL, " ", &rest)) {
            vector->size = parse_hex(vector, word, vector->bytes, vector->size);
        }
    }
    return vector->head[0] != '\0';
}

/* Call @check for each vector of the files that match. Return: how many there were. */
static int for_each_vector(const char *pattern, void (*check)(struct vector *vector, void *context),
                           void *context)
{
    const char *root = getenv("HF_SOURCE_DIR");
    char path[512];
    int needed =
        snprintf(path, sizeof(path), "%s/tests/vectors/%s", root != NULL ? root : ".", pattern);
    assert_true(needed > 0 && (size_t)needed < sizeof(path));
    glob_t found;
    assert_int_equal(glob(path, 0, NULL, &found), 0);
    int count = 0;
    struct vector *vector = malloc(sizeof(*vector));
    assert_non_null(vector);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "re");
        assert_non_null(file);
        int line_number = 0;
        while (read_vector(file, found.gl_pathv[i], &line_number, vector)) {
            check(vector, context);
            count++;
        }
        fclose(file);
    }
    free(vector);
    globfree(&found);
    return count;
}

/* ---- golden vectors ---- */

struct text {
    char bytes[1024];
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void append(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const size_t room = sizeof(text->bytes) - text->length;
    int needed = vsnprintf(text->bytes + text->length, room, format, arguments);
    va_end(arguments);
    assert_true(needed >= 0 && (size_t)needed < room);
    text->length += (size_t)needed;
}

/* Small numbers in decimal, large ones and sets of bits in hex. */
static void append_number(struct text *text, const char *field, uint64_t number)
{
    const bool hex = number > 0xffff || strcmp(field, "flags") == 0 || strcmp(field, "magic") == 0;
    if (hex) {
        append(text, "0x%" PRIx64, number);
    } else {
        append(text, "%" PRIu64, number);
    }
}

static void append_data(struct text *text, const uint8_t *data, size_t size)
{
    size_t printable = 0;
    size_t alike = 0;
    for (size_t i = 0; i < size; i++) {
        printable += data[i] >= ' ' && data[i] < 0x7f && data[i] != '"';
        alike += data[i] == data[0];
    }
    if (alike == size && size > 16) {
        append(text, "%02x*%zu", data[0], size);
    } else if (printable == size) {
        append(text, "\"%.*s\"", (int)size, size > 0 ? (const char *)data : "");
    } else {
        for (size_t i = 0; i < size; i++) {
            append(text, "%02x", data[i]);
        }
    }
}

/* The head line of a message. */
static void describe(const struct wire_message *message, struct text *text)
{
    text->length = 0;
#define NUMBER(field)                                                                              \
    append(text, " " #field "=");                                                                  \
    append_number(text, #field, message->field);
#define U8(field) NUMBER(field)
#define U16(field) NUMBER(field)
#define U32(field) NUMBER(field)
#define U64(field) NUMBER(field)
#define ID(field)                                                                                  \
    append(text, " " #field "=");                                                                  \
    append_number(text, #field, message->field.space);                                             \
    append(text, ":");                                                                             \
    append_number(text, #field, message->field.object);
#define BYTES(field)                                                                               \
    append(text, " " #field "=");                                                                  \
    append_data(text, message->field, message->field##_size);
#define REST(field) BYTES(field)
#define MESSAGE(name, number, direction, fields)                                                   \
    case WIRE_##name:                                                                              \
        append(text, "message " #name);                                                            \
        fields break;
    switch (message->kind) {
#include "wire/messages.def"
    }
#undef MESSAGE
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8
#undef NUMBER
}

static enum wire_direction direction_of(enum wire_kind kind)
{
    switch (kind) {
#define MESSAGE(name, number, direction, fields)                                                   \
    case WIRE_##name:                                                                              \
        return direction;
#include "wire/messages.def"
#undef MESSAGE
    }
    return TO_SERVER;
}

static const char *verdict_name(enum wire_verdict verdict)
{
    static const char *const names[] = {"OK", "INCOMPLETE", "TOO_LONG", "MALFORMED"};
    return names[verdict];
}

/* The verdict on the first @size bytes, which are put at the end of an allocation so that
 * reading past them is found out. */
static enum wire_verdict judge(const uint8_t *bytes, size_t size, size_t limit,
                               enum wire_direction direction)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    struct wire_message message;
    size_t consumed = 0;
    enum wire_verdict verdict = wire_decode(copy, size, limit, direction, &message, &consumed);
    free(copy);
    return verdict;
}

static void check_golden(struct vector *vector, void *context)
{
    bool *seen = context;
    const enum wire_kind kind = (enum wire_kind)vector->bytes[WIRE_LENGTH_BYTES];
    struct wire_message message;
    size_t consumed = 0;
    enum wire_verdict verdict = wire_decode(
        vector->bytes, vector->size, WIRE_FRAME_MAX, direction_of(kind), &message, &consumed);
    if (verdict != WIRE_OK || consumed != vector->size) {
        fail_msg("%s: %s, %zu of %zu bytes",
                 vector->where,
                 verdict_name(verdict),
                 consumed,
                 vector->size);
    }
    struct text text;
    describe(&message, &text);
    if (strcmp(text.bytes, vector->head) != 0) {
        fail_msg("%s: decoded %s", vector->where, text.bytes);
    }

    uint8_t encoded[VECTOR_MAX];
    assert_int_equal(wire_size(&message), vector->size);
    assert_int_equal(wire_encode(&message, encoded), vector->size);
    if (memcmp(encoded, vector->bytes, vector->size) != 0) {
        fail_msg("%s: encoded differently", vector->where);
    }
    seen[kind] = true;
}

/* Every kind has golden vectors; each decodes to the fields in its head line and encodes to the
 * same bytes again. */
static void test_golden_vectors(void **state)
{
    bool seen[256] = {false};
    assert_true(for_each_vector("*.hex", check_golden, seen) >= 20);
#define MESSAGE(name, number, direction, fields) assert_true(seen[WIRE_##name]);
#include "wire/messages.def"
#undef MESSAGE
}

static void check_truncations(struct vector *vector, void *context)
{
    const enum wire_direction direction =
        direction_of((enum wire_kind)vector->bytes[WIRE_LENGTH_BYTES]);
    for (size_t size = 0; size < vector->size; size++) {
        enum wire_verdict verdict = judge(vector->bytes, size, WIRE_FRAME_MAX, direction);
        if (verdict != WIRE_INCOMPLETE) {
            fail_msg("%s: %s after %zu bytes", vector->where, verdict_name(verdict), size);
        }
    }
}

/* A golden vector that is cut anywhere waits for its rest. */
static void test_every_truncation_of_a_golden_vector_is_incomplete(void **state)
{
    for_each_vector("*.hex", check_truncations, NULL);
}

static bool ends_with_rest(enum wire_kind kind)
{
#define U8(field)
#define U16(field)
#define U32(field)
#define U64(field)
#define ID(field)
#define BYTES(field)
#define REST(field) +1
    switch (kind) {
#define MESSAGE(name, number, direction, fields)                                                   \
    case WIRE_##name:                                                                              \
        return (0 fields) != 0;
#include "wire/messages.def"
#undef MESSAGE
    }
#undef REST
#undef BYTES
#undef ID
#undef U64
#undef U32
#undef U16
#undef U8
    return false;
}

static void check_shortened(struct vector *vector, void *context)
{
    const enum wire_kind kind = (enum wire_kind)vector->bytes[WIRE_LENGTH_BYTES];
    const enum wire_direction direction = direction_of(kind);
    struct wire_message message;
    size_t consumed;
    assert_int_equal(
        wire_decode(vector->bytes, vector->size, WIRE_FRAME_MAX, direction, &message, &consumed),
        WIRE_OK);
    /* Data without a length of its own is as good when it is shorter. */
    const bool has_rest = ends_with_rest(kind);
    const size_t good_from = vector->size - (has_rest ? message.data_size : 0);
    for (size_t size = WIRE_LENGTH_BYTES; size < vector->size; size++) {
        const size_t length = size - WIRE_LENGTH_BYTES;
        vector->bytes[0] = (uint8_t)length;
        vector->bytes[1] = (uint8_t)(length >> 8);
        const enum wire_verdict expected = size >= good_from ? WIRE_OK : WIRE_MALFORMED;
        enum wire_verdict verdict = judge(vector->bytes, size, WIRE_FRAME_MAX, direction);
        if (verdict != expected) {
            fail_msg("%s: %s at length %zu", vector->where, verdict_name(verdict), length);
        }
    }
}

/* A golden vector that is cut anywhere, and whose length says so, is malformed, unless it is cut in
 * data that ends where the frame does. */
static void test_every_golden_vector_with_a_shorter_length(void **state)
{
    for_each_vector("*.hex", check_shortened, NULL);
}

/* ---- must-fail vectors ---- */

static void check_bad(struct vector *vector, void *context)
{
    char verdict_text[32];
    char direction_text[32];
    unsigned long at;
    unsigned long limit = WIRE_FRAME_MAX;
    if (sscanf(vector->head,
               "verdict %31s %31s at=%lu limit=%lu",
               verdict_text,
               direction_text,
               &at,
               &limit) < 3) {
        fail_msg("%s: bad head line", vector->where);
    }
    const enum wire_direction direction =
        strcmp(direction_text, "to-server") == 0 ? TO_SERVER : TO_CLIENT;
    for (size_t size = 0; size <= vector->size; size++) {
        const char *expected = size < at ? "INCOMPLETE" : verdict_text;
        enum wire_verdict verdict = judge(vector->bytes, size, limit, direction);
        if (strcmp(verdict_name(verdict), expected) != 0) {
            fail_msg("%s: %s after %zu bytes, not %s",
                     vector->where,
                     verdict_name(verdict),
                     size,
                     expected);
        }
    }
    assert_true(vector->size >= at);
}

/* Each must-fail vector gets its verdict as soon as the byte is there that rules it out. */
static void test_must_fail_vectors(void **state)
{
    assert_true(for_each_vector("bad/*.hex", check_bad, NULL) >= 90);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_vectors),
        cmocka_unit_test(test_every_truncation_of_a_golden_vector_is_incomplete),
        cmocka_unit_test(test_every_golden_vector_with_a_shorter_length),
        cmocka_unit_test(test_must_fail_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
