/*
 * cmocka, with the headers that it wants to be included before it.
 */
#ifndef HF_TESTS_LIB_TEST_H
#define HF_TESTS_LIB_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
/* clang-format on */

#endif
