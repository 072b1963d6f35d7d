// swift-tools-version: 6.0
import Foundation
import PackageDescription

/// Where a C header of an optional library may lie. `EASEL_WITHOUT=onednn,jpeg,webp,gif` builds as if they were missing.
func hasHeader(_ name: String, of library: String) -> Bool {
  let environment = ProcessInfo.processInfo.environment
  let excluded = environment["EASEL_WITHOUT"]?.split(separator: ",").map(String.init) ?? []
  if excluded.contains(library) { return false }
  let searched =
    (environment["CPATH"]?.split(separator: ":").map(String.init) ?? []) + ["/usr/local/include", "/usr/include"]
  return searched.contains { FileManager.default.fileExists(atPath: "\($0)/\(name)") }
}

let hasOneDNN = hasHeader("dnnl.hpp", of: "onednn")
/// Libraries of picture formats that are there: the macro that lets their code in, and what is linked.
let imageLibraries = [
  ("jpeg", "jpeglib.h", "EASEL_HAS_JPEG"), ("webp", "webp/decode.h", "EASEL_HAS_WEBP"),
  ("gif", "gif_lib.h", "EASEL_HAS_GIF"),
].filter { hasHeader($0.1, of: $0.0) }

let package = Package(
  name: "Easel",
  products: [
    .library(name: "EaselKit", targets: ["EaselKit"]),
    .executable(name: "easel", targets: ["EaselCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto", exact: "3.12.3"),
    .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
  ],
  targets: [
    // C and C++
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(
      name: "CImageCodecs",
      cSettings: imageLibraries.map { .define($0.2) },
      linkerSettings: (["png", "z"] + imageLibraries.map(\.0)).map { .linkedLibrary($0) }),
    .target(name: "CKernels", linkerSettings: [.linkedLibrary("m")]),

    // Swift, from the ground up
    .target(
      name: "Tensors",
      dependencies: ["COpenBLAS", "CKernels"] + (hasOneDNN ? ["COneDNN"] : []),
      swiftSettings: hasOneDNN ? [.define("EASEL_HAS_ONEDNN")] : []),
    .target(name: "Gradients", dependencies: ["Tensors"]),
    .target(name: "Layers", dependencies: ["Gradients"]),
    .target(name: "Optimizers", dependencies: ["Layers"]),
    .target(name: "Images", dependencies: ["CImageCodecs", "CZlib", "Tensors"]),
    .target(name: "Datasets", dependencies: ["Images", .product(name: "Crypto", package: "swift-crypto")]),
    .target(
      name: "RunStorage",
      dependencies: [
        "Tensors", .product(name: "Crypto", package: "swift-crypto"), .product(name: "Yams", package: "Yams"),
      ]),
    .target(name: "Metrics", dependencies: ["Images", "Tensors"]),
    .target(name: "Models", dependencies: ["Optimizers", "Datasets", "RunStorage"]),
    .target(name: "Training", dependencies: ["Models", "Metrics"]),
    .target(name: "EaselKit", dependencies: ["Training"]),
    .executableTarget(
      name: "EaselCommand",
      dependencies: ["EaselKit", .product(name: "ArgumentParser", package: "swift-argument-parser")]),

    // Tests, one target for each module that has any
    .target(name: "TestSupport", dependencies: ["CZlib", "Tensors"], path: "Tests/TestSupport"),
    .testTarget(name: "TensorsTests", dependencies: ["Tensors", "TestSupport"]),
    .testTarget(name: "GradientsTests", dependencies: ["Optimizers", "TestSupport"]),
    .testTarget(name: "GoldenTests", dependencies: ["Optimizers", "RunStorage", "TestSupport"]),
    .testTarget(name: "ImagesTests", dependencies: ["Images", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "DatasetsTests", dependencies: ["Datasets", "TestSupport"]),
    .testTarget(name: "RunStorageTests", dependencies: ["RunStorage", "TestSupport"]),
    .testTarget(name: "MetricsTests", dependencies: ["Metrics", "RunStorage", "TestSupport"]),
    .testTarget(name: "ModelsTests", dependencies: ["Models", "TestSupport"]),
    .testTarget(name: "TrainingTests", dependencies: ["Training", "TestSupport"]),
    .testTarget(name: "FuzzTests", dependencies: ["Training", "CZlib", "TestSupport"]),
    .testTarget(name: "CommandTests", dependencies: ["EaselKit", "EaselCommand", "TestSupport"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu17,
  cxxLanguageStandard: .cxx17
)

if hasOneDNN {
  package.targets.append(.target(name: "COneDNN", linkerSettings: [.linkedLibrary("dnnl"), .linkedLibrary("gomp")]))
}
