#include "cli/demo_text.h"

#include <stdio.h>
#include <string.h>

struct demo_number demo_number(uint64_t value)
{
    struct demo_number number = {""};
    char digits[24];
    const int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    size_t used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            number.text[used++] = ',';
        }
        number.text[used++] = digits[i];
    }
    number.text[used] = '\0';
    return number;
}

/* Return: how many bytes of @out the escaped byte took. */
static size_t quote_byte(unsigned char byte, char out[5])
{
    static const char hex[] = "0123456789abcdef";
    const char *names = "\nn\rr\tt\"\"\\\\";
    for (size_t i = 0; names[i] != '\0'; i += 2) {
        if (byte == (unsigned char)names[i]) {
            out[0] = '\\';
            out[1] = names[i + 1];
            return 2;
        }
    }
    if (byte >= 0x20 && byte < 0x7f) {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[byte >> 4];
    out[3] = hex[byte & 15];
    return 4;
}

void demo_quote(const char *bytes, size_t size, char *out, size_t room)
{
    const size_t tail = sizeof("\"...");
    size_t used = 0;
    out[used++] = '"';
    size_t i = 0;
    while (i < size) {
        char escaped[5];
        const size_t length = quote_byte((unsigned char)bytes[i], escaped);
        if (used + length + tail > room) {
            break;
        }
        memcpy(out + used, escaped, length);
        used += length;
        i++;
    }
    snprintf(out + used, room - used, "%s", i < size ? "\"..." : "\"");
}
