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
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // C and C++
    .systemLibrary(name: "CEaselOpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CEaselZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CEaselCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .target(
      name: "CEaselImageCodecs",
      cSettings: imageLibraries.map { .define($0.2) },
      linkerSettings: (["png", "z"] + imageLibraries.map(\.0)).map { .linkedLibrary($0) }),
    .target(name: "CEaselKernels", linkerSettings: [.linkedLibrary("m")]),

    // Swift, from the ground up
    .target(name: "EaselSupport", dependencies: ["CEaselCrypto"]),
    .target(
      name: "EaselTensors",
      dependencies: ["EaselSupport", "CEaselOpenBLAS", "CEaselKernels"] + (hasOneDNN ? ["CEaselOneDNN"] : []),
      swiftSettings: hasOneDNN ? [.define("EASEL_HAS_ONEDNN")] : []),
    .target(name: "EaselGradients", dependencies: ["EaselTensors"]),
    .target(name: "EaselLayers", dependencies: ["EaselGradients"]),
    .target(name: "EaselOptimizers", dependencies: ["EaselLayers", "EaselSupport"]),
    .target(name: "EaselText", dependencies: ["EaselSupport"]),
    .target(name: "EaselImages", dependencies: ["EaselSupport", "CEaselImageCodecs", "CEaselZlib"]),
    .target(name: "EaselDatasets", dependencies: ["EaselImages", "EaselSupport", "EaselTensors"]),
    .target(
      name: "EaselRunStorage",
      dependencies: ["EaselSupport", "EaselTensors", .product(name: "Yams", package: "Yams")]),
    .target(name: "EaselMetrics", dependencies: ["EaselImages", "EaselSupport", "EaselTensors"]),
    .target(
      name: "EaselModels",
      dependencies: ["EaselDatasets", "EaselOptimizers", "EaselRunStorage", "EaselSupport", "EaselText"]),
    .target(name: "EaselTraining", dependencies: ["EaselMetrics", "EaselModels", "EaselSupport", "EaselText"]),
    .target(name: "EaselWorkbench", dependencies: ["EaselSupport", "EaselTraining"]),
    // All that it re-exports: its documentation links to them.
    .target(
      name: "EaselKit",
      dependencies: [
        "EaselDatasets", "EaselGradients", "EaselImages", "EaselLayers", "EaselMetrics", "EaselModels",
        "EaselOptimizers", "EaselRunStorage", "EaselSupport", "EaselTensors", "EaselText", "EaselTraining",
        "EaselWorkbench",
      ]),
    .executableTarget(
      name: "EaselCommand",
      dependencies: ["EaselKit", .product(name: "ArgumentParser", package: "swift-argument-parser")]),

    // One pass of a network for Benchmarks/stable_diffusion
    .executableTarget(name: "BenchmarkPass", dependencies: ["EaselKit"], path: "Benchmarks/Pass"),

    // Tests, one target for each module that has any
    .target(name: "EaselTestSupport", dependencies: ["CEaselZlib", "EaselTensors"], path: "Tests/EaselTestSupport"),
    .testTarget(name: "EaselSupportTests", dependencies: ["EaselSupport", "EaselTestSupport"]),
    .testTarget(name: "EaselTensorsTests", dependencies: ["EaselTensors", "EaselTestSupport"]),
    .testTarget(name: "EaselGradientsTests", dependencies: ["EaselOptimizers", "EaselTestSupport"]),
    .testTarget(name: "EaselGoldenTests", dependencies: ["EaselOptimizers", "EaselRunStorage", "EaselTestSupport"]),
    .testTarget(name: "EaselTextTests", dependencies: ["EaselText", "EaselTestSupport"]),
    .testTarget(name: "EaselImagesTests", dependencies: ["EaselImages", "EaselTestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "EaselDatasetsTests", dependencies: ["EaselDatasets", "EaselTestSupport"]),
    .testTarget(name: "EaselRunStorageTests", dependencies: ["EaselRunStorage", "EaselTestSupport"]),
    .testTarget(name: "EaselMetricsTests", dependencies: ["EaselMetrics", "EaselRunStorage", "EaselTestSupport"]),
    .testTarget(name: "EaselModelsTests", dependencies: ["EaselModels", "EaselTestSupport"]),
    .testTarget(name: "EaselTrainingTests", dependencies: ["EaselTraining", "EaselTestSupport"]),
    .testTarget(name: "EaselWorkbenchTests", dependencies: ["EaselKit", "EaselTestSupport"]),
    .testTarget(
      name: "EaselFuzzTests", dependencies: ["EaselText", "EaselTraining", "CEaselZlib", "EaselTestSupport"]),
    .testTarget(name: "EaselCommandTests", dependencies: ["EaselKit", "EaselCommand", "EaselTestSupport"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu17,
  cxxLanguageStandard: .cxx17
)

if hasOneDNN {
  package.targets.append(
    .target(name: "CEaselOneDNN", linkerSettings: [.linkedLibrary("dnnl"), .linkedLibrary("gomp")]))
}

// What makes the documentation, for whoever asks for it: those who use EaselKit do without.
if ProcessInfo.processInfo.environment["EASEL_DOCS"] != nil {
  package.dependencies.append(.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.3"))
}
