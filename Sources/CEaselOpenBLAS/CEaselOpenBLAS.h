// OpenBLAS's own header, and the LAPACK routines that Easel calls by Fortran symbols (Debian's OpenBLAS has no LAPACKE).
#pragma once
#include <cblas.h>

// Singular values and vectors, divide and conquer (LAPACK `sgesdd`). Column-major.
void sgesdd_(const char *jobz, const int *m, const int *n, float *a, const int *lda, float *s, float *u, const int *ldu,
             float *vt, const int *ldvt, float *work, const int *lwork, int *iwork, int *info);
// Eigenvalues, and eigenvectors if jobz is "V", of a symmetric matrix, divide and conquer (LAPACK `dsyevd`).
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
             const int *lwork, int *iwork, const int *liwork, int *info);
